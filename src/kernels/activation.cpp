#include "kernels/activation.h"

#include <cmath>
#include <numbers>

#include "base/check.h"
#include "kernels/cpu_run.h"
#include "kernels/row_loops.h"
#include "kernels/rows.h"

namespace tandem::kernels {
namespace {

mx::array mlx_act(const mx::array& x, GatedActivation act, mx::Stream s) {
  const auto c = [](double value) { return mx::array(static_cast<float>(value)); };
  if (act == GatedActivation::kSwiGlu) return mx::multiply(x, mx::sigmoid(x, s), s);
  if (act == GatedActivation::kGeGluTanh) {
    const mx::array cubic = mx::multiply(mx::multiply(x, x, s), mx::multiply(x, c(0.044715), s), s);
    const mx::array u = mx::multiply(mx::add(x, cubic, s), c(std::sqrt(2 / std::numbers::pi)), s);
    return mx::multiply(mx::multiply(x, c(0.5), s), mx::add(mx::tanh(u, s), c(1), s), s);
  }
  const mx::array erf = mx::erf(mx::multiply(x, c(std::numbers::sqrt2 / 2), s), s);
  return mx::multiply(mx::multiply(x, c(0.5), s), mx::add(erf, c(1), s), s);
}

/// act(gate) * up in float32, in the inputs' type.
template <GatedActivation kAct>
std::vector<mx::array> mlx_gated_parts(const std::vector<mx::array>& inputs) {
  const mx::Stream s = mx::default_stream(mx::default_device());
  const auto wide = [&](const mx::array& x) { return mx::astype(x, mx::float32, s); };
  const mx::array on = mlx_act(wide(inputs[0]), kAct, s);
  return {mx::astype(mx::multiply(on, wide(inputs[1]), s), inputs[0].dtype(), s)};
}

mx::array mlx_gated(const Context& context, const mx::array& gate, const mx::array& up,
                    GatedActivation act) {
  using Parts = std::vector<mx::array> (*)(const std::vector<mx::array>&);
  const Parts parts = act == GatedActivation::kSwiGlu ? mlx_gated_parts<GatedActivation::kSwiGlu>
                      : act == GatedActivation::kGeGlu
                          ? mlx_gated_parts<GatedActivation::kGeGlu>
                          : mlx_gated_parts<GatedActivation::kGeGluTanh>;
  const std::vector<mx::array> inputs = {activation(context, gate), activation(context, up)};
  // What is traced takes the default stream, and MLX keeps a trace for each.
  const mx::StreamContext stream(context.stream);
  // One kernel on a GPU. On a CPU MLX would run a compiler of the machine's for it.
  return (on_gpu(context) ? mx::compile(parts, /*shapeless=*/true)(inputs) : parts(inputs))[0];
}

/// One loop over all elements; loop(inputs' bytes at a range, output's bytes there, elements).
template <class Loop>
mx::array element_loop(const Context& context, const char* name, std::vector<mx::array> inputs,
                       Loop loop) {
  for (mx::array& input : inputs) input = activation(context, input);
  const mx::Shape shape = inputs[0].shape();
  const std::size_t item = bytes_of(element_of(context));
  return cpu_run(name, std::move(inputs), shape, context.dtype(), [&](auto in, auto out) {
    const std::byte* a = bytes_at(in[0]);
    const std::byte* b = in.size() > 1 ? bytes_at(in[1]) : a;
    std::byte* to = bytes_at(out[0]);
    for_rows(context.pool, static_cast<std::int64_t>(in[0].size()), 1,
             [&](std::int64_t begin, std::int64_t end) {
               const auto at = static_cast<std::size_t>(begin) * item;
               loop(a + at, b + at, to + at, static_cast<std::size_t>(end - begin));
             });
  });
}

const RowLoops& loops_of(const Context& context) {
  return row_table(context.isa)[element_of(context)];
}

}  // namespace

mx::array gated(const Context& context, const mx::array& gate, const mx::array& up,
                GatedActivation act) {
  check(gate.shape() == up.shape(), "a gate and what it gates have one shape");
  if (context.backend == Backend::kMlx) return mlx_gated(context, gate, up, act);
  return element_loop(
      context, "gated", {gate, up},
      [run = loops_of(context).gated, act](const std::byte* g, const std::byte* u, std::byte* out,
                                           std::size_t n) { run(g, u, out, n, act); });
}

mx::array softcap(const Context& context, const mx::array& x, float cap) {
  check(cap >= 0, "a soft cap is not negative");
  if (cap == 0) return x;
  if (context.backend == Backend::kMlx) {
    const mx::Stream s = context.stream;
    const mx::array inner = mx::tanh(mx::multiply(as_f32(context, x), mx::array(1 / cap), s), s);
    return activation(context, mx::multiply(inner, mx::array(cap), s));
  }
  return element_loop(
      context, "softcap", {x},
      [run = loops_of(context).softcap, cap](const std::byte* in, const std::byte*, std::byte* out,
                                             std::size_t n) { run(in, out, n, cap); });
}

mx::array add(const Context& context, const mx::array& a, const mx::array& b) {
  check(a.shape() == b.shape(), "sums are of one shape");
  if (context.backend == Backend::kMlx) {
    // One rounding of the exact sum, whichever the type: MLX adds bfloat16 as float32.
    return mx::add(activation(context, a), activation(context, b), context.stream);
  }
  return element_loop(
      context, "add", {a, b},
      [run = loops_of(context).add](const std::byte* x, const std::byte* y, std::byte* out,
                                    std::size_t n) { run(x, y, out, n); });
}

mx::array scale(const Context& context, const mx::array& x, float factor) {
  if (context.backend == Backend::kMlx) {
    return activation(context, mx::multiply(as_f32(context, x), mx::array(factor), context.stream));
  }
  return element_loop(
      context, "scale", {x},
      [run = loops_of(context).scale, factor](const std::byte* in, const std::byte*, std::byte* out,
                                              std::size_t n) { run(in, out, n, factor); });
}

}  // namespace tandem::kernels
