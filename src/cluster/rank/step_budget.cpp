#include "cluster/rank/step_budget.h"

#include <algorithm>
#include <bit>

#include "cluster/timing.h"

namespace tandem::cluster {

int StepBudget::group(std::uint64_t tokens) {
  return std::min(static_cast<int>(std::bit_width(tokens)), kGroups - 1);
}

// The first tick of a group pays for compiling and cold weights, so the second replaces it.
void StepBudget::observe(std::uint64_t tokens, Duration took) {
  Group& seen = groups_[group(tokens)];
  const Duration faded = seen.count < 2 ? Duration::zero() : seen.slowest - seen.slowest / kFade;
  seen.slowest = std::max({faded, took, Duration(1)});
  seen.count = std::min(seen.count + 1, 2);
}

StepBudget::Duration StepBudget::allowed(std::uint64_t tokens) const {
  const Duration slowest = groups_[group(tokens)].slowest;
  if (slowest > Duration::zero()) {
    return std::max<Duration>(timing::kStepFloor, slowest * timing::kStepFactor);
  }
  const auto counted = static_cast<std::int64_t>(std::min<std::uint64_t>(tokens, 1U << 24));
  return timing::kWarmUp + timing::kWarmUpPerToken * counted;
}

}  // namespace tandem::cluster
