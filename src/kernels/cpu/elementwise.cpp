#include <utility>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/rows.h"

namespace tandem::kernels {

mx::array CpuOps::element_loop(const char* name, std::vector<mx::array> inputs,
                               const ElementLoop& loop) const {
  for (mx::array& input : inputs) input = activation(input);
  const mx::Shape shape = inputs[0].shape();
  const std::size_t item = size_of(dtype());
  return cpu_run(name, std::move(inputs), shape, type(), [&](auto in, auto out) {
    const std::byte* a = bytes_at(in[0]);
    const std::byte* b = in.size() > 1 ? bytes_at(in[1]) : a;
    std::byte* to = bytes_at(out[0]);
    for_rows(pool_, static_cast<std::int64_t>(in[0].size()), 1,
             [&](std::int64_t begin, std::int64_t end) {
               const auto at = static_cast<std::size_t>(begin) * item;
               loop(a + at, b + at, to + at, static_cast<std::size_t>(end - begin));
             });
  });
}

mx::array CpuOps::run_gated(const mx::array& gate, const mx::array& up, GatedActivation act) const {
  return element_loop(
      "gated", {gate, up},
      [run = row_loops().gated, act](const std::byte* g, const std::byte* u, std::byte* out,
                                     std::size_t n) { run(g, u, out, n, act); });
}

mx::array CpuOps::run_softcap(const mx::array& x, float cap) const {
  return element_loop(
      "softcap", {x},
      [run = row_loops().softcap, cap](const std::byte* in, const std::byte*, std::byte* out,
                                       std::size_t n) { run(in, out, n, cap); });
}

mx::array CpuOps::run_add(const mx::array& a, const mx::array& b) const {
  return element_loop(
      "add", {a, b},
      [run = row_loops().add](const std::byte* x, const std::byte* y, std::byte* out,
                              std::size_t n) { run(x, y, out, n); });
}

mx::array CpuOps::run_gate(const mx::array& x, const mx::array& gate) const {
  if (gate.shape() == x.shape()) {
    return element_loop(
        "gate", {x, gate},
        [run = row_loops().gate](const std::byte* in, const std::byte* by, std::byte* out,
                                 std::size_t n) { run(in, by, out, n); });
  }
  const auto loop = row_loops().gate_row;
  const std::size_t item = size_of(dtype());
  return cpu_run("gate", {activation(x), activation(gate)}, x.shape(), type(),
                 [&](auto in, auto out) {
                   const auto [rows, cols] = rows_of(in[0]);
                   const std::byte* from = bytes_at(in[0]);
                   const std::byte* by = bytes_at(in[1]);
                   std::byte* to = bytes_at(out[0]);
                   for_rows(pool_, rows, cols, [&, n = cols](std::int64_t begin, std::int64_t end) {
                     const auto count = static_cast<std::size_t>(n);
                     for (std::int64_t r = begin; r < end; ++r) {
                       const auto row = static_cast<std::size_t>(r);
                       const std::size_t at = row * count * item;
                       loop(from + at, by + row * item, to + at, count);
                     }
                   });
                 });
}

mx::array CpuOps::run_scale(const mx::array& x, float factor) const {
  return element_loop(
      "scale", {x},
      [run = row_loops().scale, factor](const std::byte* in, const std::byte*, std::byte* out,
                                        std::size_t n) { run(in, out, n, factor); });
}

}  // namespace tandem::kernels
