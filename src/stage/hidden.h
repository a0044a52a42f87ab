#pragma once
// Hidden states between frames and MLX.

#include "kernels/context.h"
#include "stage/stage.h"

namespace tandem::stage {

namespace mx = mlx::core;

/// The type of hidden states between stages that compute as `context` does.
DType hidden_dtype(const kernels::Context& context);
/// A copy as an array in context.dtype(). Sizes were checked.
mx::array to_array(const kernels::Context& context, const Hidden& hidden);
/// The node that makes `rows` ready for from_array() once it is evaluated.
mx::array to_bytes(const kernels::Context& context, const mx::array& rows, DType dtype);
/// Copies an evaluated result of to_bytes().
Hidden from_array(const mx::array& ready, DType dtype);

}  // namespace tandem::stage
