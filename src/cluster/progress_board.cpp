#include "cluster/progress_board.h"

#include <fmt/format.h>

#include <chrono>

namespace tandem::cluster {

using std::chrono::duration_cast;

void ProgressBoard::set_state(v1::WorkerState state) {
  const std::lock_guard lock(mutex_);
  state_ = state;
}

void ProgressBoard::begin(std::uint64_t number, std::uint64_t tokens, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  started_ = number;
  running_ = Running{tokens, now};
}

void ProgressBoard::end(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (!running_) return;
  budget_.observe(running_->tokens, duration_cast<StepBudget::Duration>(now - running_->since));
  running_.reset();
  done_ = started_;
}

v1::HeartbeatReply ProgressBoard::report(Clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  v1::HeartbeatReply reply;
  reply.set_state(state_);
  reply.set_ticks_started(started_);
  reply.set_ticks_done(done_);
  if (!running_) return reply;
  const auto took = duration_cast<StepBudget::Duration>(now - running_->since);
  const auto allowed = budget_.allowed(running_->tokens);
  reply.set_tick_ms(
      static_cast<std::uint64_t>(duration_cast<std::chrono::milliseconds>(took).count()));
  if (took > allowed) {
    reply.set_state(v1::WORKER_STATE_FAILED);
    reply.mutable_error()->set_code(v1::ERROR_CODE_DEADLINE_EXCEEDED);
    reply.mutable_error()->set_message(
        fmt::format("has computed tick {} for {:.1f} s, more than the {:.1f} s that a tick of {} "
                    "tokens may take",
                    started_, static_cast<double>(took.count()) / 1e6,
                    static_cast<double>(allowed.count()) / 1e6, running_->tokens));
  }
  return reply;
}

}  // namespace tandem::cluster
