#pragma once
// The rules of a request, checked once at the door.

#include <cstdint>

#include "scheduler/engine.h"
#include "tandem/error.h"

namespace tandem::scheduler {

/// Ids of the prompt within [0, vocabulary), stop_ids not negative (a tokenizer may know more ids
/// than the model), sampling by rules/sampling.h, prompt not empty and shorter than context_max.
/// The message names the field and the rule.
Status check_request(const Request& request, std::int32_t vocabulary, int context_max);

}  // namespace tandem::scheduler
