#include <optional>
#include <utility>
#include <vector>

#include "kernels/mlx/mlx_ops.h"

namespace tandem::kernels {

mx::array MlxOps::rope_steps(const mx::array& x, const mx::array& positions,
                             const RopeSpec& spec) const {
  const mx::Stream s = stream_;
  const int tokens = x.shape(0);
  const int heads = x.shape(1);
  const int half = static_cast<int>(spec.inverse_frequency.size());
  const int end = spec.begin + 2 * half;
  const mx::array frequency(spec.inverse_frequency.begin(), {1, 1, half}, mx::float32);
  const mx::array turn = mx::reshape(mx::astype(positions, mx::float32, s), {tokens, 1, 1}, s);
  const mx::array angle = mx::multiply(turn, frequency, s);
  const mx::array size(spec.magnitude);
  const mx::array cos = mx::multiply(mx::cos(angle, s), size, s);
  const mx::array sin = mx::multiply(mx::sin(angle, s), size, s);
  const mx::array wide = as_f32(x);
  const mx::array part = mx::slice(wide, {0, 0, spec.begin}, {tokens, heads, end}, s);
  const mx::Shape split =
      spec.interleaved ? mx::Shape{tokens, heads, half, 2} : mx::Shape{tokens, heads, 2, half};
  const int axis = spec.interleaved ? 3 : 2;
  const std::vector<mx::array> pair = mx::split(mx::reshape(part, split, s), 2, axis, s);
  const mx::array a = mx::squeeze(pair[0], axis, s);
  const mx::array b = mx::squeeze(pair[1], axis, s);
  const mx::array turned =
      mx::stack({mx::subtract(mx::multiply(a, cos, s), mx::multiply(b, sin, s), s),
                 mx::add(mx::multiply(b, cos, s), mx::multiply(a, sin, s), s)},
                axis, s);
  std::vector<mx::array> pieces;
  if (spec.begin > 0) pieces.push_back(mx::slice(wide, {0, 0, 0}, {tokens, heads, spec.begin}, s));
  pieces.push_back(mx::reshape(turned, {tokens, heads, 2 * half}, s));
  if (end < x.shape(2)) {
    pieces.push_back(mx::slice(wide, {0, 0, end}, {tokens, heads, x.shape(2)}, s));
  }
  return activation(pieces.size() == 1 ? pieces[0] : mx::concatenate(pieces, 2, s));
}

/// MLX's own kernel: a token is a batch of one position, as positions may be any.
mx::array MlxOps::turned(const mx::array& part, const mx::array& positions,
                         const RopeSpec& spec) const {
  const mx::Stream s = stream_;
  const int dim = part.shape(2);
  // It rounds to the type of its input; a magnitude is applied before that.
  const mx::array in = spec.magnitude == 1 ? part : as_f32(part);
  const mx::array batch = mx::expand_dims(in, 2, s);  // [T, heads, 1, dim]
  mx::array out =
      mx::fast::rope(batch, dim, spec.interleaved, std::nullopt, 1.0F, positions, spec.periods, s);
  if (spec.magnitude != 1) out = mx::multiply(out, mx::array(spec.magnitude), s);
  return activation(mx::squeeze(out, 2, s));
}

mx::array MlxOps::run_rope(const mx::array& x, const mx::array& positions,
                           const RopeSpec& spec) const {
  if (!spec.periods) return rope_steps(x, positions, spec);
  const int end = spec.begin + 2 * static_cast<int>(spec.inverse_frequency.size());
  const mx::array wide = activation(x);
  const mx::array part = turned(slice_last(wide, spec.begin, end), positions, spec);
  std::vector<mx::array> pieces;
  if (spec.begin > 0) pieces.push_back(slice_last(wide, 0, spec.begin));
  pieces.push_back(part);
  if (end < x.shape(2)) pieces.push_back(slice_last(wide, end, x.shape(2)));
  return pieces.size() == 1 ? pieces[0] : mx::concatenate(pieces, 2, stream_);
}

RopeSpec MlxOps::prepare_rope(RopeSpec spec) const {
  if (!on_gpu()) return spec;
  std::vector<float> periods;
  for (const float frequency : spec.inverse_frequency) periods.push_back(1 / frequency);
  spec.periods =
      mx::array(periods.begin(), mx::Shape{static_cast<int>(periods.size())}, mx::float32);
  return spec;
}

}  // namespace tandem::kernels
