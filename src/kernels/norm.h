#pragma once
// Root-mean-square normalisation (arXiv 1910.07467).

#include "kernels/context.h"

namespace tandem::kernels {

/// x / rms(x) * weight over the last axis, for x [..., n] and weight [n] float32 (Gemma's 1 + w is
/// added at load). Sums in one fixed order per row.
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
