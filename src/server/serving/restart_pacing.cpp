#include "server/serving/restart_pacing.h"

#include <algorithm>

namespace tandem::server {

std::optional<Clock::duration> RestartPacing::failed(Clock::time_point now) {
  if (opened_ && now - *opened_ >= limits_.calm) row_ = 0;
  opened_.reset();
  if (row_ == 0) row_began_ = now;
  const bool enough = row_ >= limits_.tries && now - row_began_ >= limits_.patience;
  if (limits_.patience.count() == 0 || enough) return std::nullopt;
  if (row_++ == 0) {
    wait_ = {};
  } else {
    wait_ = std::clamp<Clock::duration>(2 * wait_, limits_.first_wait, limits_.longest_wait);
  }
  return wait_;
}

}  // namespace tandem::server
