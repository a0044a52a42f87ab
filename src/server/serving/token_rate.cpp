#include "server/serving/token_rate.h"

#include <chrono>

namespace tandem::server {
namespace {

constexpr std::chrono::milliseconds kSpacing{500};
constexpr std::chrono::seconds kWindow{5};

}  // namespace

void TokenRate::note(Clock::time_point now, std::uint64_t prompt, std::uint64_t generated) {
  last_ = {now, prompt, generated};
  if (points_.empty() || now - points_.back().at >= kSpacing) points_.push_back(last_);
  // The oldest point is the last one that is as old as the window.
  while (points_.size() > 1 && now - points_[1].at >= kWindow) points_.pop_front();
}

double TokenRate::seconds() const {
  if (points_.empty()) return 0;
  return std::chrono::duration<double>(last_.at - points_.front().at).count();
}

double TokenRate::prompt() const {
  const double time = seconds();
  return time > 0 ? static_cast<double>(last_.prompt - points_.front().prompt) / time : 0;
}

double TokenRate::decode() const {
  const double time = seconds();
  return time > 0 ? static_cast<double>(last_.generated - points_.front().generated) / time : 0;
}

}  // namespace tandem::server
