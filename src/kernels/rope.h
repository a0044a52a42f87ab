#pragma once
// Rotary position embedding (arXiv 2104.09864) and its scalings, reduced to one table.

#include <optional>
#include <vector>

#include "kernels/context.h"

namespace tandem::kernels {

/// Pair i turns by position * inverse_frequency[i] and is multiplied by `magnitude`.
struct RopeSpec {
  int begin = 0;             // first rotated dimension of a head
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + n/2)
  float magnitude = 1;
  std::vector<float> inverse_frequency;  // half the rotated dimensions
  /// 1 / inverse_frequency, for the one kernel that MLX has for all this on a GPU; without it, rope
  /// on MLX is a dozen operations. with_periods() makes it.
  std::optional<mx::array> periods = std::nullopt;
};

RopeSpec with_periods(RopeSpec spec);

/// x [T, heads, dim], positions int32 [T]; dimensions outside [begin, begin + 2 * table) pass
/// through.
mx::array rope(const Context& context, const mx::array& x, const mx::array& positions,
               const RopeSpec& spec);

}  // namespace tandem::kernels
