#pragma once
// Matrix products as compositions of MLX's own operations.

#include <optional>

#include "kernels/context.h"
#include "kernels/linear.h"
#include "kernels/matrix_impl.h"
#include "kernels/moe.h"

namespace tandem::kernels::mlx {

mx::array linear(const Context& context, const mx::array& x, const Matrix& w,
                 const std::optional<mx::array>& bias);
mx::array linear_per_head(const Context& context, const mx::array& x, const Matrix& w);
mx::array embed(const Context& context, const mx::array& ids, const Matrix& table);
mx::array moe_mlp(const Context& context, const mx::array& x, const Routing& routing,
                  const Matrix& gate, const Matrix& up, const Matrix& down, GatedActivation act);

}  // namespace tandem::kernels::mlx
