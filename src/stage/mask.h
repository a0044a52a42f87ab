#pragma once
// The tokens that a constrained sequence may go on with: bit i % 32 of word i / 32 for token i.

#include <cstdint>
#include <span>
#include <vector>

namespace tandem::stage {

/// The allowed token with the highest logit, the lowest id among equals. `allowed` passed
/// rules::check_mask() for as many tokens as there are logits; none is NaN.
std::int32_t best_allowed(std::span<const float> logits, std::span<const std::uint32_t> allowed);

/// The logits with minus infinity for what is not allowed.
std::vector<float> keep_allowed(std::span<const float> logits,
                                std::span<const std::uint32_t> allowed);

}  // namespace tandem::stage
