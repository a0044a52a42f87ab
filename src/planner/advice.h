#pragma once
// The one change that helps most, found by trying each. Pure.

#include <string>

#include "planner/planner.h"
#include "planner/room.h"

namespace tandem::planner {

/// "twice the memory bandwidth on mac1 (546 GB/s): 4.1 tok/s instead of 3.1 (+32 %)".
std::string advice_on(const Setting& setting, Objective objective, const Prediction& now);

/// What would make a model fit that does not.
std::string advice_to_fit(const Setting& setting, const Pipelines& pipelines,
                          const Missing& missing);

}  // namespace tandem::planner
