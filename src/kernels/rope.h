#pragma once
// Rotary position embedding (arXiv 2104.09864) and its scalings, reduced to one table.

#include <mlx/mlx.h>

#include <optional>
#include <vector>

namespace tandem::kernels {

namespace mx = mlx::core;

/// Pair i turns by position * inverse_frequency[i] and is multiplied by `magnitude`.
struct RopeSpec {
  int begin = 0;             // first rotated dimension of a head
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + n/2)
  float magnitude = 1;
  std::vector<float> inverse_frequency;  // half the rotated dimensions
  /// 1 / inverse_frequency, where Ops::prepare_rope() makes it: for the one kernel that MLX has for
  /// all this on a GPU; without it, rope on MLX is a dozen operations.
  std::optional<mx::array> periods = std::nullopt;
};

}  // namespace tandem::kernels
