#pragma once
// How long a tick takes: what the promise to streams, the watchdog of a stuck step and /metrics
// ask.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "tandem/tick.h"

namespace tandem::cost {

/// What a tick, or several that are on their way together, has to compute.
struct TickLoad {
  std::uint64_t rows = 0;
  std::uint64_t draws = 0;     // rows that the head is run for
  std::uint64_t attended = 0;  // positions that attention reads, summed over the rows

  TickLoad& operator+=(const TickLoad& other);
  /// `count` rows of one sequence that follow `before` others.
  void add_rows(std::uint64_t count, std::uint64_t before);
};

TickLoad load_of(const Tick& tick);

/// seconds = fixed + row * rows + draw * draws + position * attended, none of them negative, fitted
/// to means of ticks of each kind; those of a like number of rows count most, since a row is
/// cheaper in a large batch. What a row's bytes take on a link is in the price of a row. A kind is
/// known from its first tick on, and its second replaces a first that compiled. A single tick that
/// strays changes little; three in a row are believed: of any kinds, the whole machine has become
/// faster or slower by as much. A plain value of bounded size; times are passed in.
class TickCost {
 public:
  /// A tick of `load` took `seconds`; what is not a time is ignored.
  void observe(const TickLoad& load, double seconds);
  /// Seconds that a tick of `load` should take; nullopt before the first.
  std::optional<double> predict(const TickLoad& load) const;
  /// Whether a tick of like rows and like depth was seen: the first one of a kind may compile.
  bool knows(const TickLoad& load) const;

 private:
  static constexpr int kTerms = 4;
  using Terms = std::array<double, kTerms>;
  /// Ticks of one kind: powers of two of the rows, of eight of the depth, and who draws.
  struct Kind {
    int rows = 0;
    int depth = 0;
    int draws = 0;  // none, some or all rows
    bool operator==(const Kind&) const = default;
  };
  struct Mean {
    Kind kind;
    Terms load{};  // 1, rows, draws, attended
    double seconds = 0;
    int ticks = 0;
    int strays = 0;  // in a row; below 0: too fast ones
    void take(const Terms& terms, double took);
  };

  static Kind kind_of(const TickLoad& load);
  static Terms terms_of(const TickLoad& load);
  Terms fit(double rows) const;
  bool note_stray(Mean& mean, double ratio);

  std::vector<Mean> means_;
  std::array<double, 3> ratios_{};  // of the last ticks that strayed in a row
  int strays_ = 0;                  // as Mean's, of any kinds
};

}  // namespace tandem::cost
