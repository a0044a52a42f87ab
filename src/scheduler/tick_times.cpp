#include "scheduler/tick_times.h"

#include <algorithm>
#include <cmath>

namespace tandem::scheduler {
namespace {

/// Weight of the newest tick in a mean.
constexpr double kNewest = 0.125;
/// What a tick took beyond so many means does not count: now and then one is held up by something
/// else.
constexpr double kOutlier = 1.5;
/// A tick of so many times the mean's rows, or so many times fewer, begins another mean: the cost
/// of a row is not the same in batches of any size.
constexpr double kOtherSize = 2;

}  // namespace

void TickTimes::observe(std::uint64_t rows, bool prompts, double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return;
  Mean& mean = prompts ? heavy_ : light_;
  const auto count = static_cast<double>(rows);
  const bool other = count > kOtherSize * mean.rows || count * kOtherSize < mean.rows;
  if (!mean.known || other) {
    mean = {count, seconds, true};
    return;
  }
  mean.rows += kNewest * (count - mean.rows);
  mean.seconds += kNewest * (std::min(seconds, kOutlier * mean.seconds) - mean.seconds);
}

std::uint32_t TickTimes::prompt_rows(std::uint64_t decodes, std::uint32_t most) const {
  const double apart = heavy_.rows - light_.rows;
  if (!light_.known || !heavy_.known || apart < 1) return std::min(kMixedRowsFirst, most);
  const double row = (heavy_.seconds - light_.seconds) / apart;
  if (row <= 0) return most;
  const double alone = light_.seconds + row * (static_cast<double>(decodes) - light_.rows);
  const double rows = (kMixedSlowdown - 1) * std::max(alone, light_.seconds / 2) / row;
  return static_cast<std::uint32_t>(std::clamp(rows, 1.0, static_cast<double>(most)));
}

}  // namespace tandem::scheduler
