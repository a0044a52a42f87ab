#pragma once
// Draws the next token from a row of logits. Pure: same arguments, same token.

#include <cstdint>
#include <span>
#include <vector>

#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// Adds logit_bias, then repetition, presence and frequency penalties over the last tokens of
/// `history` (each its own context; a context of 0 is the whole history), as mlx-lm does.
void penalize(std::span<float> logits, const SamplingParams& params,
              std::span<const std::int32_t> history);

/// The token at `position`. Changes `logits` by penalize() and uses them as scratch. The sequence
/// of the result is not set. `allowed`: see TickEntry; filters see the distribution over what is
/// allowed, logprob and top are of the one over all tokens. Fails (kInternal) when a logit is NaN
/// or infinite.
Result<SampledToken> sample(std::span<float> logits, const SamplingParams& params,
                            std::span<const std::int32_t> history, std::uint64_t position,
                            std::uint32_t top_logprobs,
                            std::span<const std::uint32_t> allowed = {});

/// The log-probability of `id`; the sequence and position of the result are not set.
Result<TokenScore> score(std::span<const float> logits, std::int32_t id,
                         std::uint32_t top_logprobs);

}  // namespace tandem::stage
