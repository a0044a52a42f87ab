#include "scheduler/tick_times.h"

#include <algorithm>
#include <cmath>

namespace tandem::scheduler {
namespace {

/// Ticks that a mean is of: each new one weighs as much as one of these.
constexpr int kMeanTicks = 8;
/// What a tick strays from what it should take beyond this share of it does not count: now and then
/// one is held up by something else, and that must not look like a slower machine.
constexpr double kOutlier = 0.1;
/// A tick of so many times the mean's rows, or so many times fewer, begins another mean: the cost
/// of a row is not the same in batches of any size. Nor is a line believed further than that.
constexpr double kOtherSize = 2;

/// Where the spread ends: a machine that others use too strays further, but fewer rows would not
/// change that.
constexpr double kSpreadMax = 1.15;
/// Share of ticks that may take longer than the spread, and how far each one moves it.
constexpr double kLate = 0.05;
constexpr double kSpreadStep = 0.02;

std::uint32_t rows_within(double rows, std::uint32_t most) {
  return static_cast<std::uint32_t>(std::clamp(rows, 1.0, static_cast<double>(most)));
}

}  // namespace

double TickTimes::Mean::expects(double those_rows, double row) const {
  return seconds + row * (those_rows - rows);
}

void TickTimes::Mean::take(double those_rows, double took, double row) {
  const bool other = those_rows > kOtherSize * rows || those_rows * kOtherSize < rows;
  if (!known() || other) {
    *this = {those_rows, took, 1};
    return;
  }
  const double expected = expects(those_rows, row);
  if (ticks < kMeanTicks) {
    ++ticks;
  } else if (expected > 0) {
    took = std::clamp(took, (1 - kOutlier) * expected, (1 + kOutlier) * expected);
  }
  rows += (those_rows - rows) / ticks;
  seconds += (took - seconds) / ticks;
}

void TickTimes::observe(const TickLoad& load, double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return;
  const auto rows = static_cast<double>(load.streams + load.prompts);
  if (load.prompts == 0) {
    streams_.take(rows, seconds, row_seconds());
  } else if (load.streams == 0) {
    prompts_.take(rows, seconds, prompts_.seconds / std::max(prompts_.rows, 1.0));
  } else {
    note_spread(rows, seconds);
    mixed_.take(rows, seconds, row_seconds());
  }
}

/// What one more row costs; 0 while that is not known.
double TickTimes::row_seconds() const {
  const double apart = mixed_.rows - streams_.rows;
  return apart < 1 ? 0 : std::max((mixed_.seconds - streams_.seconds) / apart, 0.0);
}

/// A step up for each tick above, and nineteen times less down for each one below: at rest where
/// one of twenty is above.
void TickTimes::note_spread(double rows, double seconds) {
  const double line = mixed_.expects(rows, row_seconds());
  if (!mixed_.known() || line <= 0) return;
  spread_ += kSpreadStep * (seconds > spread_ * line ? 1 - kLate : -kLate);
  spread_ = std::clamp(spread_, 1.0, kSpreadMax);
}

std::uint32_t TickTimes::mixed_rows(std::uint64_t streams, std::uint32_t most) const {
  if (!streams_.known() || !mixed_.known() || mixed_.rows - streams_.rows < 1) {
    return std::min(kMixedRowsFirst, most);
  }
  const double furthest = kOtherSize * mixed_.rows;
  const double row = row_seconds();
  if (row <= 0) return rows_within(furthest, most);
  const double alone = streams_.seconds + row * (static_cast<double>(streams) - streams_.rows);
  const double slowdown = kMixedSlowdown / spread_;
  const double rows = (slowdown - 1) * std::max(alone, streams_.seconds / 2) / row;
  return rows_within(std::min(rows, furthest), most);
}

std::uint32_t TickTimes::prompt_rows(std::uint32_t most) const {
  if (!prompts_.known()) return std::min(kPromptRowsFirst, most);
  return rows_within(kPromptSeconds * prompts_.rows / std::max(prompts_.seconds, 1e-9), most);
}

}  // namespace tandem::scheduler
