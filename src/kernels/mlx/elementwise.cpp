#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/mlx/mlx_ops.h"

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

}  // namespace

mx::array MlxOps::run_gated(const mx::array& gate, const mx::array& up, GatedActivation act) const {
  using Parts = std::vector<mx::array> (*)(const std::vector<mx::array>&);
  const Parts parts = act == GatedActivation::kSwiGlu ? mlx_gated_parts<GatedActivation::kSwiGlu>
                      : act == GatedActivation::kGeGlu
                          ? mlx_gated_parts<GatedActivation::kGeGlu>
                          : mlx_gated_parts<GatedActivation::kGeGluTanh>;
  const std::vector<mx::array> inputs = {activation(gate), activation(up)};
  // What is traced takes the default stream, and MLX keeps a trace for each.
  const mx::StreamContext stream(stream_);
  // One kernel on a GPU. On a CPU MLX would run a compiler of the machine's for it.
  return (on_gpu() ? mx::compile(parts, /*shapeless=*/true)(inputs) : parts(inputs))[0];
}

mx::array MlxOps::run_gate(const mx::array& x, const mx::array& gate) const {
  return activation(mx::multiply(as_f32(x), mx::sigmoid(as_f32(gate), stream_), stream_));
}

mx::array MlxOps::run_gated_rms_norm(const mx::array& x, const mx::array& gate,
                                     const mx::array& weight, float epsilon) const {
  const mx::Stream s = stream_;
  const mx::array normed = mx::fast::rms_norm(as_f32(x), as_f32(weight), epsilon, s);
  return activation(mx::multiply(normed, mlx_act(as_f32(gate), GatedActivation::kSwiGlu, s), s));
}

mx::array MlxOps::run_softcap(const mx::array& x, float cap) const {
  const mx::Stream s = stream_;
  const mx::array inner = mx::tanh(mx::multiply(as_f32(x), mx::array(1 / cap), s), s);
  return activation(mx::multiply(inner, mx::array(cap), s));
}

mx::array MlxOps::run_add(const mx::array& a, const mx::array& b) const {
  // One rounding of the exact sum, whichever the type: MLX adds bfloat16 as float32.
  return mx::add(activation(a), activation(b), stream_);
}

mx::array MlxOps::run_scale(const mx::array& x, float factor) const {
  return activation(mx::multiply(as_f32(x), mx::array(factor), stream_));
}

}  // namespace tandem::kernels
