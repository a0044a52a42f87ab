#pragma once
// When is a process that says nothing stalled? Pure: the clock is a parameter.

#include <algorithm>
#include <optional>

#include "tandem/deadline.h"

namespace tandem::cluster {

/// Watches one peer that should speak at least every few hundred milliseconds. The watcher calls
/// check() at short intervals; when its own calls came late (it was stopped, or its machine slept),
/// the peer's silence is not held against it. Not thread-safe.
class SilenceDetector {
 public:
  /// `limit`: silence that counts as a stall. `own_pause`: a gap between two calls of check() after
  /// which the count begins anew.
  SilenceDetector(Clock::time_point now, Clock::duration limit, Clock::duration own_pause)
      : heard_(now), checked_(now), limit_(limit), own_pause_(own_pause) {}

  /// The peer spoke at `now`, which may be a while ago.
  void heard(Clock::time_point now) { heard_ = std::max(heard_, now); }

  /// How long the peer has been silent, when that is too long.
  std::optional<Clock::duration> check(Clock::time_point now) {
    if (now - checked_ > own_pause_) heard_ = now;
    checked_ = now;
    if (now - heard_ <= limit_) return std::nullopt;
    return now - heard_;
  }

 private:
  Clock::time_point heard_;
  Clock::time_point checked_;
  Clock::duration limit_;
  Clock::duration own_pause_;
};

}  // namespace tandem::cluster
