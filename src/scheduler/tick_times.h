#pragma once
// How long ticks take, as far as it decides how much prompt may ride with running streams.

#include <cstdint>

namespace tandem::scheduler {

/// A stream's time between tokens may grow by this factor while prompts are computed beside it; a
/// little under the two that are promised, since times vary.
inline constexpr double kMixedSlowdown = 1.8;
/// Prompt rows beside decodes as long as nothing was measured.
inline constexpr std::uint32_t kMixedRowsFirst = 8;

/// A line through two means, of ticks without and with rows of prompts: from submission to result a
/// tick takes a time that grows evenly with the rows on their way. The means are of ticks like the
/// last ones, so the line is right where it is used. A plain value; times are passed in.
class TickTimes {
 public:
  /// A tick took `seconds`. `rows`: its own and those on their way before it; `prompts`: whether
  /// rows of prompts were among them.
  void observe(std::uint64_t rows, bool prompts, double seconds);
  /// Rows of prompts that may be on their way beside `decodes` rows, in [1, most].
  std::uint32_t prompt_rows(std::uint64_t decodes, std::uint32_t most) const;

 private:
  struct Mean {
    double rows = 0;
    double seconds = 0;
    bool known = false;
  };
  Mean light_;
  Mean heavy_;
};

}  // namespace tandem::scheduler
