#pragma once
// Draws the next token from a row of logits. Pure: same arguments, same token.

#include <cstdint>
#include <span>
#include <vector>

#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// What is wrong with logits of which one is NaN or infinite.
Error not_finite();

/// The token at `position`, drawn from logits that Penalties went over. Uses them as scratch.
/// `allowed`: see Want; filters see the distribution over what is allowed, logprob and top are of
/// the one over all tokens. Fails (kInternal) when a logit is NaN or infinite.
Result<TokenResult> sample(std::span<float> logits, const SamplingParams& params,
                           std::uint64_t position, std::uint32_t top_logprobs,
                           std::span<const std::uint32_t> allowed = {});

/// The log-probability of `id`.
Result<TokenResult> score(std::span<const float> logits, std::int32_t id,
                          std::uint32_t top_logprobs);

}  // namespace tandem::stage
