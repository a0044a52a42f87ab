#include "cluster/rank/worker_log.h"

#include <fmt/format.h>

#include <chrono>

namespace tandem::cluster {
namespace {

constexpr std::chrono::seconds kRefusalsEvery{1};

}  // namespace

void WorkerLog::say(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (sink_) sink_(line);
}

void WorkerLog::refuse(const std::string& line, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (now < next_) {
    ++left_out_;
    return;
  }
  next_ = now + kRefusalsEvery;
  const std::uint64_t left_out = std::exchange(left_out_, 0);
  if (!sink_) return;
  sink_(left_out > 0 ? fmt::format("{} ({} more refusals before it)", line, left_out) : line);
}

}  // namespace tandem::cluster
