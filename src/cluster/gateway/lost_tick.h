#pragma once
// When is a tick that nobody works on lost? Pure: the clock is a parameter.

#include <cstdint>

#include "tandem/deadline.h"

namespace tandem::cluster {

/// Watches the one tick whose result somebody waits for. While nobody waits, the result may lie in
/// the gateway's inbox for as long as it likes, so nothing is lost then. Not thread-safe.
class LostTick {
 public:
  /// `own_pause`: a gap between two calls of check() after which the count begins anew.
  explicit LostTick(Clock::duration own_pause) : own_pause_(own_pause) {}

  /// Somebody waits for tick `number` (0: nobody waits any more), which may rest between two ranks
  /// for `patience`.
  void await(std::uint64_t number, Clock::duration patience, Clock::time_point now) {
    if (awaited_ != number) moved_ = now;
    awaited_ = number;
    patience_ = patience;
  }

  /// `done`: ticks that the ranks have finished, summed; `computing`: whether any rank is at work.
  /// The number of the awaited tick when nothing has moved for its patience, else 0.
  std::uint64_t check(std::uint64_t done, bool computing, Clock::time_point now) {
    if (done != done_ || computing || now - checked_ > own_pause_) moved_ = now;
    done_ = done;
    checked_ = now;
    return awaited_ != 0 && now - moved_ >= patience_ ? awaited_ : 0;
  }

 private:
  const Clock::duration own_pause_;
  std::uint64_t awaited_ = 0;
  Clock::duration patience_{};
  std::uint64_t done_ = 0;
  Clock::time_point moved_{};
  Clock::time_point checked_{};
};

}  // namespace tandem::cluster
