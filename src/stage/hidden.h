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
/// `rows` as bytes of `dtype`, which keep the array: no copy. Evaluates them.
Hidden to_hidden(const kernels::Context& context, const mx::array& rows, DType dtype);

}  // namespace tandem::stage
