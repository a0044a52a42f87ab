#pragma once
// How soon a failed pipeline is opened again, and how long requests wait for it. Pure: the clock is
// a parameter.

#include <chrono>
#include <optional>

#include "tandem/deadline.h"

namespace tandem::server {

struct RestartLimits {
  bool forever = true;  // false: the first failure is the last
  /// Between tries: nothing, then doubling from the first to the longest. A try begins with a call
  /// to each worker, which costs next to nothing while one does not answer.
  std::chrono::milliseconds first_wait{250};
  std::chrono::milliseconds longest_wait{2000};
  /// Requests wait so long for a pipeline, 0: for ever.
  std::chrono::seconds recovery_timeout{300};
};

/// It never gives up. The first failure is answered at once; a token begins the count anew.
class RestartPacing {
 public:
  explicit RestartPacing(RestartLimits limits) : limits_(limits) {}

  /// An open pipeline failed, or could not be opened: how long to wait before the next try.
  Clock::duration failed(Clock::time_point now);
  /// A result came: the pipeline works.
  void got_on();
  /// Whether requests have waited long enough.
  bool overdue(Clock::time_point now) const;

 private:
  RestartLimits limits_;
  int row_ = 0;  // failures in it
  Clock::duration wait_{0};
  std::optional<Clock::time_point> out_since_;
};

}  // namespace tandem::server
