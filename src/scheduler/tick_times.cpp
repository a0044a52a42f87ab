#include "scheduler/tick_times.h"

#include <algorithm>
#include <cmath>

namespace tandem::scheduler {
namespace {

/// Ticks with more rows than so many times what was seen lately are not believed in.
constexpr double kFurther = 2;
/// What was seen is forgotten by this much a tick.
constexpr double kFade = 0.95;

/// Where the spread ends: a machine that others use too strays further, but fewer rows would not
/// change that.
constexpr double kSpreadMax = 1.15;
/// Share of ticks that may take longer than the spread, and how far each one moves it.
constexpr double kLate = 0.05;
constexpr double kSpreadStep = 0.02;

}  // namespace

void TickTimes::observe(const cost::TickLoad& load, double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return;
  if (load.draws == load.rows) {
    streams_seen_ = true;
  } else if (load.draws == 0) {
    prompts_seen_ = true;
  } else {
    if (streams_seen_ && mixed_seen_ > 0) note_spread(load, seconds);
    mixed_seen_ = std::max(static_cast<double>(load.rows - load.draws), kFade * mixed_seen_);
  }
  cost_.observe(load, seconds);
}

/// A step up for each tick above, and nineteen times less down for each one below: at rest where
/// one of twenty is above.
void TickTimes::note_spread(const cost::TickLoad& load, double seconds) {
  const double expected = cost_.predict(load).value_or(0);
  if (expected <= 0) return;
  spread_ += kSpreadStep * (seconds > spread_ * expected ? 1 - kLate : -kLate);
  spread_ = std::clamp(spread_, 1.0, kSpreadMax);
}

/// The most rows beside `streams` with which a tick should take up to `seconds`.
std::uint32_t TickTimes::rows_within(const cost::TickLoad& streams, std::uint64_t before,
                                     double seconds, std::uint32_t most) const {
  std::uint32_t low = 1;
  std::uint32_t high = most;
  while (low < high) {
    const std::uint32_t rows = high - (high - low) / 2;
    cost::TickLoad load = streams;
    load.add_rows(rows, before);
    if (cost_.predict(load).value_or(0) <= seconds) {
      low = rows;
    } else {
      high = rows - 1;
    }
  }
  return low;
}

std::uint32_t TickTimes::mixed_rows(const cost::TickLoad& streams, std::uint64_t before,
                                    std::uint32_t most) const {
  if (!streams_seen_ || mixed_seen_ == 0) return std::min(kMixedRowsFirst, most);
  const double furthest = std::min(kFurther * mixed_seen_, static_cast<double>(most));
  const double alone = cost_.predict(streams).value_or(0);
  return rows_within(streams, before, alone * kMixedSlowdown / spread_,
                     std::max(static_cast<std::uint32_t>(furthest), std::uint32_t{1}));
}

std::uint32_t TickTimes::prompt_rows(std::uint64_t before, std::uint32_t most) const {
  if (!prompts_seen_) return std::min(kPromptRowsFirst, most);
  return rows_within({}, before, kPromptSeconds, most);
}

std::uint32_t TickTimes::replay_rows(const cost::TickLoad& streams, std::uint64_t before,
                                     std::uint32_t most) const {
  if (!prompts_seen_) return std::min(kPromptRowsFirst, most);
  return rows_within(streams, before, kReplaySeconds, most);
}

}  // namespace tandem::scheduler
