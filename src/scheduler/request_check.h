#pragma once
// The rules of a request, checked once at the door.

#include <cstdint>

#include "scheduler/engine.h"
#include "tandem/error.h"

namespace tandem::scheduler {

/// Most candidates that can be asked for with a token.
inline constexpr std::uint32_t kTopLogprobsMax = 1024;
/// Longest logit_bias, stop_ids and xtc_special_tokens lists.
inline constexpr std::size_t kTokenListMax = 4096;

/// Ids of the prompt and of logit_bias within [0, vocabulary), stop_ids and xtc_special_tokens not
/// negative (a tokenizer may know more ids than the model), numbers finite and within
/// SamplingParams' ranges, prompt not empty and shorter than context_max. The message names the
/// field and the rule.
Status check_request(const Request& request, std::int32_t vocabulary, int context_max);

}  // namespace tandem::scheduler
