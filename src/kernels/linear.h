#pragma once
// Matrix products. x is [tokens, cols]; a row of the result depends on its own row of x only, bit
// for bit, whatever the other rows, threads or blocking.

#include <optional>
#include <vector>

#include "kernels/activation.h"
#include "kernels/context.h"
#include "kernels/matrix.h"

namespace tandem::kernels {

/// x W^T + bias: [T, cols] -> [T, rows]. bias is [rows] or absent.
mx::array linear(const Context& context, const mx::array& x, const Matrix& w,
                 const std::optional<mx::array>& bias = std::nullopt);

/// One of several products with the same x.
struct LinearSpec {
  Matrix w;
  std::optional<mx::array> bias;
};

/// linear() of x with each matrix, the same bits, in one preparation of x
/// and one parallel loop where a block has several (queries, keys and values).
std::vector<mx::array> linear_many(const Context& context, const mx::array& x,
                                   const std::vector<LinearSpec>& specs);

/// One matrix per head: x [T, count, cols] -> [T, count, rows] (MLA's absorbed projections).
mx::array linear_per_head(const Context& context, const mx::array& x, const Matrix& w);

/// down(act(gate x) * up x) in one pass: [T, H] -> [T, H]. gate and up are [I, H], down is [H, I].
/// float32 between the products whatever the activations.
mx::array gated_mlp(const Context& context, const mx::array& x, const Matrix& gate,
                    const Matrix& up, const Matrix& down, GatedActivation act);

/// Rows of the table: ids int32 [T] -> [T, cols] in context.dtype(). Ids are validated before.
mx::array embed(const Context& context, const mx::array& ids, const Matrix& table);

}  // namespace tandem::kernels
