#include "kernels/linear_mlx.h"

namespace tandem::kernels::mlx {
namespace {

mx::array in_context(const Context& context, const mx::array& y) {
  return mx::astype(y, context.dtype(), context.stream);
}

/// x [..., cols] times the transposed matrices; leading axes broadcast.
mx::array times(const Context& context, const mx::array& x, const Matrix::Impl& w) {
  if (!w.quantization) {
    return mx::matmul(x, mx::swapaxes(*w.weight, -1, -2, context.stream), context.stream);
  }
  return mx::quantized_matmul(x, *w.weight, *w.scales, w.biases, true, w.quantization->group,
                              w.quantization->bits, "affine", context.stream);
}

/// x [T, *, 1, cols] times the matrices `ids` [T, k]: [T, k, 1, rows].
mx::array gathered(const Context& context, const mx::array& x, const Matrix::Impl& w,
                   const mx::array& ids) {
  const mx::Stream s = context.stream;
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
                        ids, true, w.quantization->group, w.quantization->bits, "affine",
                        std::nullopt, false, s);
}

}  // namespace

mx::array linear(const Context& context, const mx::array& x, const Matrix& w,
                 const std::optional<mx::array>& bias) {
  mx::array y = times(context, x, w.impl());
  if (bias) y = mx::add(y, *bias, context.stream);
  return in_context(context, y);
}

mx::array linear_per_head(const Context& context, const mx::array& x, const Matrix& w) {
  const mx::array heads = mx::transpose(x, {1, 0, 2}, context.stream);
  const mx::array y = times(context, heads, w.impl());
  return in_context(context, mx::transpose(y, {1, 0, 2}, context.stream));
}

mx::array embed(const Context& context, const mx::array& ids, const Matrix& table) {
  const Matrix::Impl& w = table.impl();
  const mx::Stream s = context.stream;
  const mx::array rows = mx::take(*w.weight, ids, 0, s);
  if (!w.quantization) return in_context(context, rows);
  const auto f32 = [&](const mx::array& a) {
    return mx::astype(mx::take(a, ids, 0, s), mx::float32, s);
  };
  return in_context(context,
                    mx::dequantize(rows, f32(*w.scales), f32(*w.biases), w.quantization->group,
                                   w.quantization->bits, "affine", std::nullopt, std::nullopt, s));
}

mx::array moe_mlp(const Context& context, const mx::array& x, const Routing& routing,
                  const Matrix& gate, const Matrix& up, const Matrix& down, GatedActivation act) {
  const mx::Stream s = context.stream;
  const mx::array rows = mx::expand_dims(x, std::vector<int>{1, 2}, s);  // [T, 1, 1, H]
  const mx::array g = gathered(context, rows, gate.impl(), routing.ids);
  const mx::array u = gathered(context, rows, up.impl(), routing.ids);
  const mx::array h = gated(context, g, u, act);
  const mx::array y = mx::squeeze(gathered(context, h, down.impl(), routing.ids), 2, s);
  const mx::array weights = mx::expand_dims(routing.weights, 2, s);  // [T, k, 1]
  const mx::array weighted = mx::multiply(mx::astype(y, mx::float32, s), weights, s);
  return in_context(context, mx::sum(weighted, 1, false, s));
}

}  // namespace tandem::kernels::mlx
