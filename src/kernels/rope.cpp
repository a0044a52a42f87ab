#include "kernels/rope.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/cpu_run.h"
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

mx::array rope(const Context& context, const mx::array& x, const mx::array& positions,
               const RopeSpec& spec) {
  check(x.ndim() == 3 && positions.ndim() == 1 && positions.shape(0) == x.shape(0) &&
            positions.dtype() == mx::int32,
        "rope turns [tokens, heads, dim] by one int32 position a token");
  check(spec.begin >= 0 && !spec.inverse_frequency.empty() &&
            static_cast<std::size_t>(spec.begin) + 2 * spec.inverse_frequency.size() <=
                static_cast<std::size_t>(x.shape(2)),
        "rope's rotated dimensions lie within a head");
  if (context.backend == Backend::kMlx) return mlx_rope(context, x, positions, spec);
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
