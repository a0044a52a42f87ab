#pragma once
// Matrix products. x is [tokens, cols]; a row of the result depends on its own row of x only, bit
// for bit, whatever the other rows, threads or blocking.

#include <optional>

#include "kernels/context.h"
#include "kernels/matrix.h"

namespace tandem::kernels {

/// x W^T + bias: [T, cols] -> [T, rows]. bias is [rows] or absent.
mx::array linear(const Context& context, const mx::array& x, const Matrix& w,
                 const std::optional<mx::array>& bias = std::nullopt);

/// One matrix per head: x [T, count, cols] -> [T, count, rows] (MLA's absorbed projections).
mx::array linear_per_head(const Context& context, const mx::array& x, const Matrix& w);

/// Rows of the table: ids int32 [T] -> [T, cols] in context.dtype(). Ids are validated before.
mx::array embed(const Context& context, const mx::array& ids, const Matrix& table);

}  // namespace tandem::kernels
