#include "cluster/rank/progress_board.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "cluster/timing.h"
#include "cluster/wire/load_messages.h"

namespace tandem::cluster {

using std::chrono::duration_cast;

void ProgressBoard::set_state(v1::WorkerState state) {
  const std::lock_guard lock(mutex_);
  state_ = state;
}

void ProgressBoard::begin_epoch() {
  const std::lock_guard lock(mutex_);
  started_ = 0;
  done_ = 0;
  kv_bytes_ = 0;
  running_.reset();
}

void ProgressBoard::begin(std::uint64_t number, std::uint64_t tokens, Clock::time_point now,
                          Progress progress) {
  const std::lock_guard lock(mutex_);
  started_ = number;
  const SilenceDetector silence(now, timing::kComputeSilence, timing::kOwnPause);
  running_ = Running{tokens, now, std::move(progress), std::nullopt, silence};
  meter_.turn_to(WorkMeter::Doing::kComputing, now);
}

void ProgressBoard::end(Clock::time_point now, std::uint64_t kv_bytes) {
  const std::lock_guard lock(mutex_);
  if (!running_) return;
  meter_.turn_to(WorkMeter::Doing::kOther, now);
  meter_.ticked(running_->tokens);
  kv_bytes_ = kv_bytes;
  budget_.observe(running_->tokens, duration_cast<StepBudget::Duration>(now - running_->since));
  running_.reset();
  done_ = started_;
}

void ProgressBoard::wait(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  meter_.turn_to(WorkMeter::Doing::kWaiting, now);
}

void ProgressBoard::sent(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  meter_.sent(bytes);
}

// Why the running tick counts as stuck; empty while it does not.
std::string ProgressBoard::overdue(Clock::time_point now) {
  const auto seconds = [](Clock::duration time) {
    return std::chrono::duration<double>(time).count();
  };
  const Clock::duration took = now - running_->since;
  const auto allowed = budget_.allowed(running_->tokens);
  if (took > allowed) {
    return fmt::format(
        "has computed tick {} for {:.1f} s, more than the {:.1f} s that a tick of {} tokens may "
        "take",
        started_, seconds(took), seconds(allowed), running_->tokens);
  }
  const auto steps = running_->progress ? running_->progress() : std::nullopt;
  if (!steps || steps != running_->seen) running_->silence.heard(now);
  running_->seen = steps;
  const auto silent = running_->silence.check(now);
  if (!silent) return {};
  return fmt::format("hangs in tick {}: {:.1f} s without progress", started_, seconds(*silent));
}

v1::HeartbeatReply ProgressBoard::report(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  v1::HeartbeatReply reply;
  reply.set_state(state_);
  reply.set_ticks_started(started_);
  reply.set_ticks_done(done_);
  put(meter_.work(now), *reply.mutable_work());
  reply.set_kv_bytes(kv_bytes_);
  if (!running_) return reply;
  reply.set_tick_ms(static_cast<std::uint64_t>(
      duration_cast<std::chrono::milliseconds>(now - running_->since).count()));
  if (std::string reason = overdue(now); !reason.empty()) {
    reply.set_state(v1::WORKER_STATE_FAILED);
    reply.mutable_error()->set_code(v1::ERROR_CODE_DEADLINE_EXCEEDED);
    reply.mutable_error()->set_message(std::move(reason));
  }
  return reply;
}

}  // namespace tandem::cluster
