#include "server/serving/restart_pacing.h"

#include <algorithm>

namespace tandem::server {

Clock::duration RestartPacing::failed(Clock::time_point now) {
  if (!out_since_) out_since_ = now;
  if (row_++ == 0) {
    wait_ = {};
  } else {
    wait_ = std::clamp<Clock::duration>(2 * wait_, limits_.first_wait, limits_.longest_wait);
  }
  return wait_;
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
