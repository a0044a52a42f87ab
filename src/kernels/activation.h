#pragma once
// Gated activations and other element-wise operations.

#include "kernels/context.h"
#include "kernels/gated_activation.h"

namespace tandem::kernels {

/// act(gate) * up, element by element; same shapes.
mx::array gated(const Context& context, const mx::array& gate, const mx::array& up,
                GatedActivation act);

/// cap * tanh(x / cap); cap 0: x.
mx::array softcap(const Context& context, const mx::array& x, float cap);

/// a + b, computed in float32.
mx::array add(const Context& context, const mx::array& a, const mx::array& b);

/// x * factor (Gemma's embedding scale).
mx::array scale(const Context& context, const mx::array& x, float factor);

}  // namespace tandem::kernels
