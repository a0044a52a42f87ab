#include "server/serving/restart_pacing.h"

#include <algorithm>

namespace tandem::server {

Clock::duration RestartPacing::next_wait() {
  if (row_++ == 0) {
    wait_ = {};
  } else {
    wait_ = std::clamp<Clock::duration>(2 * wait_, limits_.first_wait, limits_.longest_wait);
  }
  return wait_;
}

RestartPacing::Next RestartPacing::died(Clock::time_point now) {
  if (!out_since_) out_since_ = now;
  deaths_.push_back(now);
  while (now - deaths_.front() > limits_.deaths_within) deaths_.pop_front();
  if (deaths_.size() < limits_.deaths) return {next_wait(), false};
  deaths_.clear();
  return {limits_.rest, true};
}

RestartPacing::Next RestartPacing::not_opened(Clock::time_point now) {
  if (!out_since_) out_since_ = now;
  return {next_wait(), false};
}

void RestartPacing::got_on() {
  row_ = 0;
  out_since_.reset();
}

bool RestartPacing::overdue(Clock::time_point now) const {
  return limits_.recovery_timeout.count() > 0 && out_since_ &&
         now - *out_since_ >= limits_.recovery_timeout;
}

}  // namespace tandem::server
