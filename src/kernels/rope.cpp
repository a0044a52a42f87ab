#include "kernels/rope.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/cpu_run.h"
#include "kernels/layout.h"
#include "kernels/row_loops.h"
#include "kernels/rows.h"

namespace tandem::kernels {
namespace {

mx::array mlx_rope(const Context& context, const mx::array& x, const mx::array& positions,
                   const RopeSpec& spec) {
  const mx::Stream s = context.stream;
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
  const mx::array wide = as_f32(context, x);
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
  return activation(context, pieces.size() == 1 ? pieces[0] : mx::concatenate(pieces, 2, s));
}

/// MLX's own kernel: a token is a batch of one position, as positions may be any.
mx::array mlx_turned(const Context& context, const mx::array& part, const mx::array& positions,
                     const RopeSpec& spec) {
  const mx::Stream s = context.stream;
  const int dim = part.shape(2);
  // It rounds to the type of its input; a magnitude is applied before that.
  const mx::array in = spec.magnitude == 1 ? part : as_f32(context, part);
  const mx::array batch = mx::expand_dims(in, 2, s);  // [T, heads, 1, dim]
  mx::array out =
      mx::fast::rope(batch, dim, spec.interleaved, std::nullopt, 1.0F, positions, spec.periods, s);
  if (spec.magnitude != 1) out = mx::multiply(out, mx::array(spec.magnitude), s);
  return activation(context, mx::squeeze(out, 2, s));
}

mx::array mlx_fast_rope(const Context& context, const mx::array& x, const mx::array& positions,
                        const RopeSpec& spec) {
  const int end = spec.begin + 2 * static_cast<int>(spec.inverse_frequency.size());
  const mx::array wide = activation(context, x);
  const mx::array turned =
      mlx_turned(context, slice_last(context, wide, spec.begin, end), positions, spec);
  std::vector<mx::array> pieces;
  if (spec.begin > 0) pieces.push_back(slice_last(context, wide, 0, spec.begin));
  pieces.push_back(turned);
  if (end < x.shape(2)) pieces.push_back(slice_last(context, wide, end, x.shape(2)));
  return pieces.size() == 1 ? pieces[0] : mx::concatenate(pieces, 2, context.stream);
}

/// What the loop needs; all heads of a token share its angles.
struct RopeWork {
  const RowLoops& loops;
  const RopeSpec& spec;
  std::size_t item;
  std::size_t heads;
  std::size_t dim;

  void rows(const std::byte* x, const std::int32_t* positions, std::byte* out, std::int64_t begin,
            std::int64_t end) const {
    const std::size_t half = spec.inverse_frequency.size();
    const std::size_t first = static_cast<std::size_t>(spec.begin) * item;
    const std::size_t last = first + 2 * half * item;
    std::vector<float> table(2 * half);
    for (std::int64_t t = begin; t < end; ++t) {
      loops.rope_angles(spec.inverse_frequency.data(), half, static_cast<float>(positions[t]),
                        spec.magnitude, table.data(), table.data() + half);
      for (std::size_t h = 0; h < heads; ++h) {
        const std::size_t at = (static_cast<std::size_t>(t) * heads + h) * dim * item;
        std::memcpy(out + at, x + at, first);
        loops.rope(x + at + first, out + at + first, half, spec.interleaved, table.data(),
                   table.data() + half);
        std::memcpy(out + at + last, x + at + last, dim * item - last);
      }
    }
  }
};

}  // namespace

RopeSpec with_periods(RopeSpec spec) {
  std::vector<float> periods;
  for (const float frequency : spec.inverse_frequency) periods.push_back(1 / frequency);
  spec.periods =
      mx::array(periods.begin(), mx::Shape{static_cast<int>(periods.size())}, mx::float32);
  return spec;
}

mx::array rope(const Context& context, const mx::array& x, const mx::array& positions,
               const RopeSpec& spec) {
  check(x.ndim() == 3 && positions.ndim() == 1 && positions.shape(0) == x.shape(0) &&
            positions.dtype() == mx::int32,
        "rope turns [tokens, heads, dim] by one int32 position a token");
  check(spec.begin >= 0 && !spec.inverse_frequency.empty() &&
            static_cast<std::size_t>(spec.begin) + 2 * spec.inverse_frequency.size() <=
                static_cast<std::size_t>(x.shape(2)),
        "rope's rotated dimensions lie within a head");
  if (context.backend == Backend::kMlx) {
    return spec.periods ? mlx_fast_rope(context, x, positions, spec)
                        : mlx_rope(context, x, positions, spec);
  }
  const Element element = element_of(context);
  const RopeWork work{row_table(context.isa)[element], spec, bytes_of(element),
                      static_cast<std::size_t>(x.shape(1)), static_cast<std::size_t>(x.shape(2))};
  return cpu_run(
      "rope", {activation(context, x), positions}, x.shape(), context.dtype(),
      [&](auto in, auto out) {
        const std::byte* from = bytes_at(in[0]);
        const auto* turns = in[1].template data<std::int32_t>();
        std::byte* to = bytes_at(out[0]);
        for_rows(
            context.pool, in[0].shape(0), static_cast<std::int64_t>(work.heads * work.dim),
            [&](std::int64_t begin, std::int64_t end) { work.rows(from, turns, to, begin, end); });
      });
}

}  // namespace tandem::kernels
