#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/rows.h"

namespace tandem::kernels {
namespace {

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

mx::array CpuOps::run_rope(const mx::array& x, const mx::array& positions,
                           const RopeSpec& spec) const {
  const RopeWork work{row_loops(), spec, size_of(dtype()), static_cast<std::size_t>(x.shape(1)),
                      static_cast<std::size_t>(x.shape(2))};
  return cpu_run("rope", {activation(x), positions}, x.shape(), type(), [&](auto in, auto out) {
    const std::byte* from = bytes_at(in[0]);
    const auto* turns = in[1].template data<std::int32_t>();
    std::byte* to = bytes_at(out[0]);
    for_rows(pool_, in[0].shape(0), static_cast<std::int64_t>(work.heads * work.dim),
             [&](std::int64_t begin, std::int64_t end) { work.rows(from, turns, to, begin, end); });
  });
}

}  // namespace tandem::kernels
