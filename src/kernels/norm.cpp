#include "kernels/norm.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/activation.h"
#include "kernels/cpu_run.h"
#include "kernels/row_loops.h"
#include "kernels/rows.h"
#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

struct RowShape {
  std::int64_t rows;
  std::int64_t cols;
};

RowShape rows_of(const mx::array& x) {
  const std::int64_t cols = x.shape(-1);
  return {cols == 0 ? 0 : static_cast<std::int64_t>(x.size()) / cols, cols};
}

void check_weight(const mx::array& x, const mx::array& weight) {
  check(weight.ndim() == 1 && weight.shape(0) == x.shape(-1),
        "a norm's weight is as long as a row");
}

mx::array mlx_rms_norm(const Context& context, const mx::array& x, const mx::array& weight,
                       float epsilon) {
  // Float32 inside either way; in one type it is one kernel.
  const bool alike = x.dtype() == weight.dtype();
  const mx::array in = alike ? x : as_f32(context, x);
  const mx::array by = alike ? weight : as_f32(context, weight);
  return activation(context, mx::fast::rms_norm(in, by, epsilon, context.stream));
}

}  // namespace

mx::array norm_weight(const Context& context, const mx::array& weight) {
  check(weight.ndim() == 1 && weight.dtype() == mx::float32, "a norm's weight is float32 [n]");
  if (!on_gpu(context) || context.dtype() == mx::float32) return weight;
  const float* values = weight.data<float>();
  const bool exact = std::all_of(values, values + weight.size(), [](float value) {
    return float_of_bf16(bf16_of_float(value)) == value;
  });
  if (!exact) return weight;
  mx::array narrow = mx::astype(weight, context.dtype(), context.stream);
  narrow.eval();
  return narrow;
}

mx::array rms_norm(const Context& context, const mx::array& x, const mx::array& weight,
                   float epsilon) {
  check_weight(x, weight);
  if (context.backend == Backend::kMlx) return mlx_rms_norm(context, x, weight, epsilon);
  const Element element = element_of(context);
  const auto loop = row_table(context.isa)[element].rms_norm;
  const std::size_t item = bytes_of(element);
  return cpu_run("rms_norm", {activation(context, x), weight}, x.shape(), context.dtype(),
                 [&](auto in, auto out) {
                   const auto [rows, cols] = rows_of(in[0]);
                   const std::byte* from = bytes_at(in[0]);
                   const float* w = in[1].template data<float>();
                   std::byte* to = bytes_at(out[0]);
                   for_rows(context.pool, rows, cols,
                            [&, n = cols](std::int64_t begin, std::int64_t end) {
                              for (std::int64_t r = begin; r < end; ++r) {
                                const auto at = static_cast<std::size_t>(r * n) * item;
                                loop(from + at, w, to + at, static_cast<std::size_t>(n), epsilon);
                              }
                            });
                 });
}

Residual add_rms_norm(const Context& context, const mx::array& x, const mx::array& delta,
                      const mx::array& weight, float epsilon) {
  check_weight(x, weight);
  check(x.shape() == delta.shape(), "a residual has the shape of what it is added to");
  if (context.backend == Backend::kMlx) {
    const mx::array sum = add(context, x, delta);
    return {sum, mlx_rms_norm(context, sum, weight, epsilon)};
  }
  const Element element = element_of(context);
  const RowLoops& loops = row_table(context.isa)[element];
  const std::size_t item = bytes_of(element);
  std::vector<mx::array> both = cpu_run(
      "add_rms_norm", {activation(context, x), activation(context, delta), weight},
      {x.shape(), x.shape()}, {context.dtype(), context.dtype()}, [&](auto in, auto out) {
        const auto [rows, cols] = rows_of(in[0]);
        const std::byte* a = bytes_at(in[0]);
        const std::byte* b = bytes_at(in[1]);
        const float* w = in[2].template data<float>();
        std::byte* sum = bytes_at(out[0]);
        std::byte* to = bytes_at(out[1]);
        for_rows(context.pool, rows, cols, [&, n = cols](std::int64_t begin, std::int64_t end) {
          const auto count = static_cast<std::size_t>(n);
          for (std::int64_t r = begin; r < end; ++r) {
            const auto at = static_cast<std::size_t>(r) * count * item;
            loops.add(a + at, b + at, sum + at, count);
            loops.rms_norm(sum + at, w, to + at, count, epsilon);
          }
        });
      });
  return {both[0], both[1]};
}

}  // namespace tandem::kernels
