#pragma once
// The gated activations of feed-forward blocks (free of MLX, for the loops).

namespace tandem::kernels {

/// kSwiGlu: silu(gate) * up. kGeGluTanh: gelu (tanh form) of gate * up. kGeGlu: gelu (erf form).
enum class GatedActivation { kSwiGlu, kGeGluTanh, kGeGlu };

}  // namespace tandem::kernels
