#pragma once
// attention() in MLX's own operations (private to attention.cpp).

#include "kernels/attention.h"

namespace tandem::kernels {

mx::array attention_mlx(const Context& context, const AttentionSpec& spec, const mx::array& q,
                        const mx::array& k, const std::optional<mx::array>& v,
                        std::span<const SequenceRows> rows, const std::optional<mx::array>& sinks);

}  // namespace tandem::kernels
