#include <cstdint>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/rows.h"

namespace tandem::kernels {

mx::array CpuOps::run_rms_norm(const mx::array& x, const mx::array& weight, float epsilon) const {
  const auto loop = row_loops().rms_norm;
  const std::size_t item = size_of(dtype());
  return cpu_run("rms_norm", {activation(x), weight}, x.shape(), type(), [&](auto in, auto out) {
    const auto [rows, cols] = rows_of(in[0]);
    const std::byte* from = bytes_at(in[0]);
    const float* w = in[1].template data<float>();
    std::byte* to = bytes_at(out[0]);
    for_rows(pool_, rows, cols, [&, n = cols](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const auto at = static_cast<std::size_t>(r * n) * item;
        loop(from + at, w, to + at, static_cast<std::size_t>(n), epsilon);
      }
    });
  });
}

mx::array CpuOps::run_gated_rms_norm(const mx::array& x, const mx::array& gate,
                                     const mx::array& weight, float epsilon) const {
  const auto loop = row_loops().gated_rms_norm;
  const std::size_t item = size_of(dtype());
  return cpu_run("gated_rms_norm", {activation(x), activation(gate), weight}, x.shape(), type(),
                 [&](auto in, auto out) {
                   const auto [rows, cols] = rows_of(in[0]);
                   const std::byte* from = bytes_at(in[0]);
                   const std::byte* open = bytes_at(in[1]);
                   const float* w = in[2].template data<float>();
                   std::byte* to = bytes_at(out[0]);
                   for_rows(pool_, rows, cols, [&, n = cols](std::int64_t begin, std::int64_t end) {
                     const auto count = static_cast<std::size_t>(n);
                     for (std::int64_t r = begin; r < end; ++r) {
                       const auto at = static_cast<std::size_t>(r) * count * item;
                       loop(from + at, open + at, w, to + at, count, epsilon);
                     }
                   });
                 });
}

Residual CpuOps::run_add_rms_norm(const mx::array& x, const mx::array& delta,
                                  const mx::array& weight, float epsilon) const {
  const RowLoops& loops = row_loops();
  const std::size_t item = size_of(dtype());
  std::vector<mx::array> both =
      cpu_run("add_rms_norm", {activation(x), activation(delta), weight}, {x.shape(), x.shape()},
              {type(), type()}, [&](auto in, auto out) {
                const auto [rows, cols] = rows_of(in[0]);
                const std::byte* a = bytes_at(in[0]);
                const std::byte* b = bytes_at(in[1]);
                const float* w = in[2].template data<float>();
                std::byte* sum = bytes_at(out[0]);
                std::byte* to = bytes_at(out[1]);
                for_rows(pool_, rows, cols, [&, n = cols](std::int64_t begin, std::int64_t end) {
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
