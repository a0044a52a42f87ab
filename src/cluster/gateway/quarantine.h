#pragma once
// Which ranks die so often that they get no work for a while. Pure: the clock is a parameter.

#include <cstddef>
#include <deque>
#include <map>
#include <string>

#include "tandem/deadline.h"

namespace tandem::cluster {

/// A rank is known by its place: "10.0.0.2:4000" of a host, "rank 1" here. It rests for
/// kQuarantine once it died kDeaths times in kDeathsWithin for reasons from outside, or once more
/// often than that for any: by then the scheduler has ended a request that kills it (engine.h).
class Quarantine {
 public:
  static constexpr std::size_t kDeaths = 3;

  /// `outside`: no input can have caused it.
  void died(const std::string& place, bool outside, Clock::time_point now);
  bool holds(const std::string& place, Clock::time_point now) const;

 private:
  struct Death {
    Clock::time_point when;
    bool outside = false;
  };
  struct Record {
    std::deque<Death> deaths;
    Clock::time_point until{};
  };
  std::map<std::string, Record> records_;
};

}  // namespace tandem::cluster
