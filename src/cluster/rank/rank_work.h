#pragma once
// What a rank has done, and how busy that makes it. Pure: the clock is a parameter.

#include <cstdint>
#include <deque>

#include "cost/tick_cost.h"
#include "tandem/deadline.h"
#include "tandem/rank_info.h"

namespace tandem::cluster {

/// Counts a rank's work as it is done. Not thread-safe.
class WorkMeter {
 public:
  enum class Doing { kWaiting, kComputing, kOther };

  /// From `now` on the rank does something else.
  void turn_to(Doing doing, Clock::time_point now);
  /// A tick of `load` is done, and took `took`.
  void ticked(const cost::TickLoad& load, Clock::duration took);
  /// What ticks have cost so far.
  const cost::TickCost& cost() const { return cost_; }
  void sent(std::uint64_t bytes) { sent_bytes_ += bytes; }

  /// As of `now`, what is being done counted in.
  RankWork work(Clock::time_point now) const;

 private:
  Clock::duration of(Doing doing, Clock::duration before, Clock::time_point now) const;

  Doing doing_ = Doing::kOther;
  Clock::time_point since_{};
  Clock::duration busy_{0};
  Clock::duration waiting_{0};
  std::uint64_t ticks_ = 0;
  std::uint64_t tokens_ = 0;
  std::uint64_t sent_bytes_ = 0;
  cost::TickCost cost_;
  double predicted_ = 0;  // seconds
};

/// Makes rates of what one rank says again and again. What it says is not trusted: counters that
/// run backwards begin a new window. Not thread-safe.
class RankWindow {
 public:
  /// In the order of being said. A point is kept every half second, for five seconds.
  void note(const RankWork& work);
  RankRates rates() const;
  const RankWork& last() const { return last_; }

 private:
  std::deque<RankWork> points_;
  RankWork last_;
};

}  // namespace tandem::cluster
