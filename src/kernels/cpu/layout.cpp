#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/rows.h"

namespace tandem::kernels {
namespace {

bool is_ready(const mx::array& x) { return x.is_available() && x.flags().row_contiguous; }

/// Elements of x from `offset` on, in another shape; shares x's memory.
mx::array view(const mx::array& x, mx::Shape shape, std::int64_t offset) {
  mx::array out(std::move(shape), x.dtype(), nullptr, {});
  // A view of rows is contiguous in every sense but the column-major one.
  mx::array::Flags flags{};
  flags.contiguous = flags.row_contiguous = true;
  flags.col_contiguous = out.ndim() <= 1 || out.size() <= 1;
  out.copy_shared_buffer(x, mx::Strides(out.strides()), flags, out.size(), offset);
  out.set_status(mx::array::available);
  return out;
}

mx::Shape with_last(const mx::array& x, int size) {
  mx::Shape shape = x.shape();
  shape.back() = size;
  return shape;
}

}  // namespace

mx::array CpuOps::run_reshape(const mx::array& x, mx::Shape shape) const {
  if (is_ready(x)) return view(x, std::move(shape), 0);
  return mx::reshape(x, std::move(shape), stream_);
}

mx::array CpuOps::run_slice_last(const mx::array& x, int begin, int end) const {
  if (rows_of(x).rows == 1 && is_ready(x)) return view(x, with_last(x, end - begin), begin);
  return cpu_run("slice", {x}, with_last(x, end - begin), x.dtype(), [&](auto in, auto out) {
    const std::size_t item = x.itemsize();
    const std::size_t whole = static_cast<std::size_t>(x.shape(-1)) * item;
    const std::size_t part = static_cast<std::size_t>(end - begin) * item;
    const std::byte* from = bytes_at(in[0]) + static_cast<std::size_t>(begin) * item;
    std::byte* to = bytes_at(out[0]);
    const std::int64_t rows = rows_of(x).rows;
    for (std::int64_t r = 0; r < rows; ++r, from += whole, to += part) std::memcpy(to, from, part);
  });
}

mx::array CpuOps::run_join_last(const mx::array& a, const mx::array& b) const {
  const mx::Shape shape = with_last(a, a.shape(-1) + b.shape(-1));
  return cpu_run("join", {a, b}, shape, a.dtype(), [&](auto in, auto out) {
    const std::size_t left = static_cast<std::size_t>(a.shape(-1)) * a.itemsize();
    const std::size_t right = static_cast<std::size_t>(b.shape(-1)) * b.itemsize();
    const std::byte* first = bytes_at(in[0]);
    const std::byte* second = bytes_at(in[1]);
    std::byte* to = bytes_at(out[0]);
    const std::int64_t rows = rows_of(out[0]).rows;
    for (std::int64_t r = 0; r < rows; ++r, first += left, second += right) {
      std::memcpy(to, first, left);
      std::memcpy(to + left, second, right);
      to += left + right;
    }
  });
}

mx::array CpuOps::run_take_rows(const mx::array& x, const mx::array& rows) const {
  return mx::take(x, rows, 0, stream_);
}

mx::array CpuOps::run_cast(const mx::array& x, mx::Dtype type) const {
  return mx::astype(x, type, stream_);
}

mx::array CpuOps::run_ready(const mx::array& x) const {
  if (is_ready(x)) return x;
  mx::array whole = mx::contiguous(x, false, stream_);
  whole.eval();
  return whole;
}

}  // namespace tandem::kernels
