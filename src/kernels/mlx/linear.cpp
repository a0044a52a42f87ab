#include <optional>
#include <string>
#include <vector>

#include "kernels/mlx/mlx_matrix.h"
#include "kernels/mlx/mlx_ops.h"

namespace tandem::kernels {
namespace {

std::string mode_of(const MlxMatrix& w) {
  return std::string(find_format(w.quantization->mode, w.quantization->bits)->name);
}

/// x [..., cols] times the transposed matrices; leading axes broadcast.
mx::array times(const mx::array& x, const MlxMatrix& w, mx::Stream s) {
  if (!w.quantization) {
    return mx::matmul(x, mx::swapaxes(*w.weight, -1, -2, s), s);
  }
  return mx::quantized_matmul(x, *w.weight, *w.scales, w.biases, true, w.quantization->group,
                              w.quantization->bits, mode_of(w), s);
}

/// x [T, *, 1, cols] times the matrices `ids` [T, k]: [T, k, 1, rows].
mx::array gathered(const mx::array& x, const MlxMatrix& w, const mx::array& ids, mx::Stream s) {
  const auto stacked = [&](const mx::array& a) {
    return w.count > 1 ? a : mx::expand_dims(a, 0, s);
  };
  if (!w.quantization) {
    const mx::array transposed = mx::swapaxes(stacked(*w.weight), -1, -2, s);
    const mx::Dtype type = mx::promote_types(x.dtype(), transposed.dtype());
    return mx::gather_mm(mx::astype(x, type, s), mx::astype(transposed, type, s), std::nullopt, ids,
                         false, s);
  }
  return mx::gather_qmm(x, stacked(*w.weight), stacked(*w.scales), stacked(*w.biases), std::nullopt,
                        ids, true, w.quantization->group, w.quantization->bits, mode_of(w),
                        std::nullopt, false, s);
}

}  // namespace

mx::array MlxOps::product(const mx::array& x, const Matrix& w,
                          const std::optional<mx::array>& bias) const {
  mx::array y = times(x, w.as<MlxMatrix>(), stream_);
  if (bias) y = mx::add(y, *bias, stream_);
  return activation(y);
}

std::vector<mx::array> MlxOps::run_linear(const mx::array& x,
                                          const std::vector<LinearSpec>& specs) const {
  std::vector<mx::array> results;
  for (const LinearSpec& spec : specs) results.push_back(product(x, spec.w, spec.bias));
  return results;
}

mx::array MlxOps::run_linear_per_head(const mx::array& x, const Matrix& w) const {
  const mx::array heads = mx::transpose(x, {1, 0, 2}, stream_);
  const mx::array y = times(heads, w.as<MlxMatrix>(), stream_);
  return activation(mx::transpose(y, {1, 0, 2}, stream_));
}

mx::array MlxOps::run_gated_mlp(const mx::array& x, const GatedMatrices& mlp) const {
  const mx::array h =
      run_gated(product(x, mlp.gate, std::nullopt), product(x, mlp.up, std::nullopt), mlp.act);
  return product(h, mlp.down, std::nullopt);
}

mx::array MlxOps::run_embed(const mx::array& ids, const Matrix& table) const {
  const auto& w = table.as<MlxMatrix>();
  const mx::Stream s = stream_;
  const mx::array rows = mx::take(*w.weight, ids, 0, s);
  if (!w.quantization) return activation(rows);
  const auto f32 = [&](const mx::array& a) { return as_f32(mx::take(a, ids, 0, s)); };
  return activation(mx::dequantize(rows, f32(*w.scales), f32(*w.biases), w.quantization->group,
                                   w.quantization->bits, mode_of(w), std::nullopt, std::nullopt,
                                   s));
}

mx::array MlxOps::run_moe_mlp(const mx::array& x, const Routing& routing,
                              const GatedMatrices& experts) const {
  const mx::Stream s = stream_;
  const mx::array rows = mx::expand_dims(x, std::vector<int>{1, 2}, s);  // [T, 1, 1, H]
  const auto each = [&](const mx::array& in, const Matrix& w) {
    return gathered(in, w.as<MlxMatrix>(), routing.ids, s);
  };
  const mx::array h = run_gated(each(rows, experts.gate), each(rows, experts.up), experts.act);
  const mx::array y = mx::squeeze(each(h, experts.down), 2, s);
  const mx::array weights = mx::expand_dims(routing.weights, 2, s);  // [T, k, 1]
  const mx::array weighted = mx::multiply(as_f32(y), weights, s);
  return activation(mx::sum(weighted, 1, false, s));
}

}  // namespace tandem::kernels
