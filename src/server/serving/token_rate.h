#pragma once
// Tokens a second over the last seconds.

#include <cstdint>
#include <deque>

#include "tandem/deadline.h"

namespace tandem::server {

/// Pure: time and totals are passed in, in order.
class TokenRate {
 public:
  /// The totals at `now`. A point is kept every half second, for five seconds.
  void note(Clock::time_point now, std::uint64_t prompt, std::uint64_t generated);
  double prompt() const;
  double decode() const;

 private:
  struct Point {
    Clock::time_point at;
    std::uint64_t prompt = 0;
    std::uint64_t generated = 0;
  };
  double seconds() const;

  std::deque<Point> points_;
  Point last_;
};

}  // namespace tandem::server
