#pragma once
// How long ticks take, as far as it decides how much prompt goes into one.

#include <cstdint>

namespace tandem::scheduler {

/// A stream's time between tokens may grow by this factor while prompts are computed beside it, in
/// all but one of twenty ticks; a little under the two that are promised.
inline constexpr double kMixedSlowdown = 1.95;
/// Prompt rows beside decodes as long as nothing was measured.
inline constexpr std::uint32_t kMixedRowsFirst = 8;
/// What a tick of prompts alone may take, seconds: so long who arrives then may have to wait.
inline constexpr double kPromptSeconds = 0.5;
/// Rows of such a tick as long as nothing was measured.
inline constexpr std::uint32_t kPromptRowsFirst = 256;

/// How far a tick strays from what is expected, as a factor, as long as nothing was measured.
inline constexpr double kSpreadFirst = 1.1;

/// Rows on their way: a tick's own and those of the ticks before it that were not back.
struct TickLoad {
  std::uint64_t streams = 0;  // tokens that were drawn
  std::uint64_t prompts = 0;  // of prompts, or computed again
};

/// From submission to result a tick takes a time that grows evenly with the rows on their way: a
/// line through the means of ticks without and with rows of prompts. The means are of ticks like
/// the last ones, so the line is right where it is used. How far single ticks stray from it is
/// measured too. A plain value; times are passed in.
class TickTimes {
 public:
  void observe(const TickLoad& load, double seconds);
  /// Rows of prompts that may be on their way beside `streams` decodes, in [1, most].
  std::uint32_t mixed_rows(std::uint64_t streams, std::uint32_t most) const;
  /// Rows of prompts that may be on their way where nothing decodes, in [1, most].
  std::uint32_t prompt_rows(std::uint32_t most) const;

 private:
  struct Mean {
    double rows = 0;
    double seconds = 0;
    int ticks = 0;  // 0: unknown
    bool known() const { return ticks > 0; }
    /// What a tick of so many rows should take when each costs `row` seconds.
    double expects(double those_rows, double row) const;
    void take(double those_rows, double took, double row);
  };
  double row_seconds() const;
  void note_spread(double rows, double seconds);

  Mean streams_;
  Mean mixed_;
  Mean prompts_;
  /// 19 of 20 mixed ticks take at most so many times what the line says.
  double spread_ = kSpreadFirst;
};

}  // namespace tandem::scheduler
