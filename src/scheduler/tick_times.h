#pragma once
// How much prompt goes into a tick, by how long ticks take.

#include <cstdint>

#include "cost/tick_cost.h"

namespace tandem::scheduler {

/// A stream's time between tokens may grow by this factor while prompts are computed beside it, in
/// all but one of twenty ticks; a little under the two that are promised.
inline constexpr double kMixedSlowdown = 1.95;
/// Prompt rows beside decodes as long as nothing was measured.
inline constexpr std::uint32_t kMixedRowsFirst = 8;
/// What a tick of prompts alone may take, seconds: so long who arrives then may have to wait.
inline constexpr double kPromptSeconds = 0.5;
/// What a tick may take, seconds, while streams are computed again that a failure interrupted:
/// those that are back go on, at this pace, and the others come back nearly as soon as they can.
inline constexpr double kReplaySeconds = 0.25;
/// Rows of such ticks as long as nothing was measured.
inline constexpr std::uint32_t kPromptRowsFirst = 256;

/// How far a tick strays from what is expected, as a factor, as long as nothing was measured.
inline constexpr double kSpreadFirst = 1.1;

/// What a TickCost says of ticks with and without rows of prompts, from submission to result, and
/// how far single ones stray from it. A load's draws are its streams, and its rows are all that are
/// on their way: a tick's own and those of the ticks before it that were not back. A plain value;
/// times are passed in.
class TickTimes {
 public:
  void observe(const cost::TickLoad& load, double seconds);
  /// Rows of prompts that may be on their way beside `streams`, in [1, most]; they follow `before`
  /// tokens of theirs.
  std::uint32_t mixed_rows(const cost::TickLoad& streams, std::uint64_t before,
                           std::uint32_t most) const;
  /// Rows of prompts that may be on their way where nothing decodes, in [1, most].
  std::uint32_t prompt_rows(std::uint64_t before, std::uint32_t most) const;
  /// Rows that may be on their way beside `streams` while interrupted streams come back, likewise.
  std::uint32_t replay_rows(const cost::TickLoad& streams, std::uint64_t before,
                            std::uint32_t most) const;
  const cost::TickCost& cost() const { return cost_; }

 private:
  std::uint32_t rows_within(const cost::TickLoad& streams, std::uint64_t before, double seconds,
                            std::uint32_t most) const;
  void note_spread(const cost::TickLoad& load, double seconds);

  cost::TickCost cost_;
  bool streams_seen_ = false;
  bool prompts_seen_ = false;
  double mixed_seen_ = 0;  // rows of prompts in mixed ticks lately
  /// 19 of 20 mixed ticks take at most so many times what is expected.
  double spread_ = kSpreadFirst;
};

}  // namespace tandem::scheduler
