#pragma once
// Root-mean-square normalisation (arXiv 1910.07467).

#include "kernels/context.h"

namespace tandem::kernels {

/// A norm's weight [n] float32, ready for the backend: on a GPU in the activations' type if that
/// changes no value, which takes MLX's kernel without conversions.
mx::array norm_weight(const Context& context, const mx::array& weight);

/// x / rms(x) * weight over the last axis, for x [..., n] and weight [n] of norm_weight() (Gemma's
/// 1 + w is added at load). Sums in one fixed order per row.
mx::array rms_norm(const Context& context, const mx::array& x, const mx::array& weight,
                   float epsilon);

/// The residual sum and its norm in one pass: {x + delta, rms_norm(x + delta)}.
struct Residual {
  mx::array sum;
  mx::array normed;
};
Residual add_rms_norm(const Context& context, const mx::array& x, const mx::array& delta,
                      const mx::array& weight, float epsilon);

}  // namespace tandem::kernels
