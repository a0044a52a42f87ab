#pragma once
// How often and how soon a failed pipeline is opened again. Pure: the clock is a parameter.

#include <chrono>
#include <optional>

#include "tandem/deadline.h"

namespace tandem::server {

struct RestartLimits {
  /// Failures in a row are not the end before this time and this many tries; 0 s: the first is.
  std::chrono::seconds patience{300};
  int tries = 5;
  std::chrono::seconds calm{60};  // without a failure ends a row
  std::chrono::milliseconds first_wait{250};
  std::chrono::milliseconds longest_wait{10'000};
};

/// The first failure is answered at once, the next ones of the row after doubling waits.
class RestartPacing {
 public:
  explicit RestartPacing(RestartLimits limits) : limits_(limits) {}

  /// The pipeline failed, or could not be opened. How long to wait before the next try; nullopt:
  /// that was enough.
  std::optional<Clock::duration> failed(Clock::time_point now);
  void opened(Clock::time_point now) { opened_ = now; }

 private:
  RestartLimits limits_;
  std::optional<Clock::time_point> opened_;
  Clock::time_point row_began_{};
  int row_ = 0;  // failures in it
  Clock::duration wait_{0};
};

}  // namespace tandem::server
