#include "cluster/rank/progress_board.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "cluster/timing.h"
#include "cluster/wire/load_messages.h"

namespace tandem::cluster {

using std::chrono::duration_cast;

namespace {

constexpr double kLongest = 1e8;  // seconds, beyond any deadline
/// So many positions that attention reads are given the time of a row.
constexpr std::uint64_t kPositionsAsRow = 1024;

}  // namespace

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

void ProgressBoard::begin(std::uint64_t number, const cost::TickLoad& load, Clock::time_point now,
                          Progress progress) {
  const std::lock_guard lock(mutex_);
  started_ = number;
  const SilenceDetector silence(now, timing::kComputeSilence, timing::kOwnPause);
  running_ = Running{load, now, std::move(progress), std::nullopt, silence};
  meter_.turn_to(WorkMeter::Doing::kComputing, now);
}

void ProgressBoard::end(Clock::time_point now, std::uint64_t kv_bytes) {
  const std::lock_guard lock(mutex_);
  if (!running_) return;
  meter_.turn_to(WorkMeter::Doing::kOther, now);
  meter_.ticked(running_->load, now - running_->since);
  kv_bytes_ = kv_bytes;
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

// With the mutex held. The first tick of a kind may compile, and touches cold weights; its rows and
// their depth are given time as if each were computed by the slowest machine there is.
Clock::duration ProgressBoard::allowed(const cost::TickLoad& load) const {
  const double seconds = meter_.cost().predict(load).value_or(0) * timing::kStepFactor;
  const std::chrono::duration<double> foreseen(std::min(seconds, kLongest));
  const auto expected = duration_cast<Clock::duration>(foreseen);
  if (meter_.cost().knows(load)) return std::max<Clock::duration>(timing::kStepFloor, expected);
  const std::uint64_t rows = load.rows + load.attended / kPositionsAsRow;
  const auto counted = static_cast<std::int64_t>(std::min<std::uint64_t>(rows, 1U << 24));
  return timing::kFirstTick + timing::kFirstTickPerToken * counted + expected;
}

// Why the running tick counts as stuck; empty while it does not.
std::string ProgressBoard::overdue(Clock::time_point now) {
  const auto seconds = [](Clock::duration time) {
    return std::chrono::duration<double>(time).count();
  };
  const Clock::duration took = now - running_->since;
  const auto limit = allowed(running_->load);
  if (took > limit) {
    return fmt::format(
        "has computed tick {} for {:.1f} s, more than the {:.1f} s that a tick of {} tokens may "
        "take",
        started_, seconds(took), seconds(limit), running_->load.rows);
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
