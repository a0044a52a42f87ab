#pragma once
// Hidden states between frames and MLX.

#include "kernels/ops.h"
#include "stage/stage.h"

namespace tandem::stage {

namespace mx = mlx::core;

/// A copy as an array in ops.dtype(). Sizes were checked.
mx::array to_array(const kernels::Ops& ops, const Hidden& hidden);
/// `rows` as bytes of `dtype`, which keep the array: no copy. Computes them.
Hidden to_hidden(const kernels::Ops& ops, const mx::array& rows, DType dtype);

}  // namespace tandem::stage
