#pragma once
// How long a message and its answer take. Pure: the clock is a parameter.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "tandem/deadline.h"

namespace tandem::cluster {

/// Times numbered messages that the other end gives back, one at a time. Not thread-safe.
class RoundTrips {
 public:
  /// Message `number` (not 0) goes out. Nothing when another one is on its way still, unless that
  /// one took so long that it must be lost.
  void begin(std::uint64_t number, Clock::time_point now) {
    if (awaited_ != 0 && now - sent_ < kLost) return;
    awaited_ = number;
    sent_ = now;
  }
  bool under_way(Clock::time_point now) const { return awaited_ != 0 && now - sent_ < kLost; }

  /// An answer came; others than the awaited one change nothing.
  void end(std::uint64_t number, Clock::time_point now) {
    if (number == 0 || number != awaited_) return;
    awaited_ = 0;
    times_.push_back(now - sent_);
    if (times_.size() > kKept) times_.pop_front();
  }

  /// The shortest of the last few: what the way itself takes, without the queues of busy machines.
  std::optional<Clock::duration> shortest() const {
    if (times_.empty()) return std::nullopt;
    return *std::min_element(times_.begin(), times_.end());
  }

 private:
  static constexpr std::size_t kKept = 3;
  static constexpr Clock::duration kLost = std::chrono::seconds(10);

  std::uint64_t awaited_ = 0;
  Clock::time_point sent_{};
  std::deque<Clock::duration> times_;
};

}  // namespace tandem::cluster
