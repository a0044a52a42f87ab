#include "cluster/rank/compute_process.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "cluster/rank/silence.h"
#include "cluster/rank/worker.h"
#include "cluster/timing.h"
#include "cluster/wire/wire_error.h"

namespace tandem::cluster {
namespace {

// Why a rank ended that says `error` itself. One that lost its link, or was told to leave its ring,
// computed well.
v1::FailureCause cause_of(const v1::Error& error) {
  if (error.code() == v1::ERROR_CODE_UNAVAILABLE) return v1::FAILURE_CAUSE_LINK;
  if (error.code() == v1::ERROR_CODE_CANCELLED) return v1::FAILURE_CAUSE_OUTSIDE;
  return v1::FAILURE_CAUSE_COMPUTE;
}

bool is_failed(const v1::HeartbeatReply& reply) { return reply.state() == v1::WORKER_STATE_FAILED; }

}  // namespace

Result<std::unique_ptr<ComputeProcess>> ComputeProcess::start(const std::string& executable,
                                                              const std::string& secrets) {
  auto child = ChildProcess::start(executable, {kComputeCommand}, false);
  if (!child) return child.error();
  std::unique_ptr<ComputeProcess> process(new ComputeProcess(std::move(*child)));
  if (auto sent = process->channel_.send(ControlKind::kSecret, secrets, after(timing::kControl));
      !sent) {
    return sent.error();
  }
  process->pump_ = std::thread([raw = process.get()] { raw->pump(); });
  return process;
}

ComputeProcess::ComputeProcess(std::unique_ptr<ChildProcess> child)
    : child_(std::move(child)), channel_(child_->control()) {
  last_.set_state(v1::WORKER_STATE_IDLE);
}

ComputeProcess::~ComputeProcess() {
  stopping_ = true;
  child_->kill();
  if (pump_.joinable()) pump_.join();
}

Result<v1::Loaded> ComputeProcess::load(
    const v1::LoadRequest& request, const std::function<void(const v1::LoadProgress&)>& progress,
    const std::function<bool()>& cancelled) {
  int load = 0;
  {
    const std::lock_guard lock(mutex_);
    if (dead_) return failure_locked();
    load = ++loads_;
    last_.Clear();
    last_.set_state(v1::WORKER_STATE_LOADING);
    progress_.Clear();
    loaded_.reset();
    started_.reset();
    in_use_ = true;
  }
  if (auto sent =
          channel_.send(ControlKind::kLoad, request.SerializeAsString(), after(timing::kControl));
      !sent) {
    if (!wait_failed(after(timing::kReap))) fail(sent.error());  // its end says more
  }
  const Deadline end = after(timing::kLoad);
  Deadline silence_end = after(timing::kLoadSilence);
  Deadline next_word{};
  std::uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  while (load == loads_ && !loaded_ && !is_failed(last_)) {
    changed_.wait_for(lock, timing::kWatch);
    if (load != loads_) break;
    if (progress_.done() != seen) silence_end = after(timing::kLoadSilence);
    if (progress_.done() != seen || Clock::now() > next_word) {
      seen = progress_.done();
      next_word = after(timing::kHeartbeat);
      const v1::LoadProgress now = progress_;
      lock.unlock();
      progress(now);
      lock.lock();
    }
    std::optional<Error> reason;
    if (cancelled()) reason = Error{ErrorCode::kCancelled, "the gateway went away while loading"};
    if (Clock::now() > std::min(silence_end, end)) {
      reason = Error{ErrorCode::kDeadlineExceeded, fmt::format("made no progress loading for {} s",
                                                               timing::kLoadSilence.count())};
    }
    if (!reason) continue;
    lock.unlock();
    fail(*reason);
    lock.lock();
  }
  if (load != loads_) return Error{ErrorCode::kCancelled, "was loaded anew by its gateway"};
  if (is_failed(last_)) return failure_locked();
  v1::Loaded loaded = *loaded_;
  const v1::LoadProgress now = progress_;
  lock.unlock();
  if (now.done() != seen) progress(now);  // the last news came while others were being told
  return loaded;
}

Status ComputeProcess::join(const v1::StartRequest& request) {
  if (auto sent =
          channel_.send(ControlKind::kStart, request.SerializeAsString(), after(timing::kControl));
      !sent) {
    if (!wait_failed(after(timing::kReap))) fail(sent.error());  // its end says more
  }
  std::unique_lock lock(mutex_);
  const bool answered =
      changed_.wait_until(lock, after(timing::kRingStart + timing::kControl),
                          [&] { return started_.has_value() || is_failed(last_); });
  if (is_failed(last_)) return failure_locked();
  if (!answered) return Error{ErrorCode::kDeadlineExceeded, "did not join the ring in time"};
  if (!started_->has_error()) return {};
  return from_wire(started_->error()).value_or(Error{ErrorCode::kInternal, "could not join"});
}

v1::HeartbeatReply ComputeProcess::heartbeat() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

bool ComputeProcess::wait_failed(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return is_failed(last_); });
}

bool ComputeProcess::dead() const {
  const std::lock_guard lock(mutex_);
  return dead_;
}

std::uint64_t ComputeProcess::held_bytes() const {
  const std::lock_guard lock(mutex_);
  return ended() ? 0 : weight_bytes_;
}

// A channel that takes no order is a child that will be killed for its silence.
void ComputeProcess::ask_to_leave() {
  static_cast<void>(channel_.send(ControlKind::kLeave, {}, after(timing::kControl)));
}

bool ComputeProcess::wait_left(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return dead_ || !in_use_; });
  return !dead_ && !in_use_;
}

void ComputeProcess::fail(const Error& reason, v1::FailureCause cause) {
  {
    const std::lock_guard lock(mutex_);
    if (dead_) return;
    dead_ = true;
    set_failed_locked(reason, cause);
  }
  child_->kill();
  changed_.notify_all();
}

void ComputeProcess::set_failed_locked(const Error& reason, v1::FailureCause cause) {
  if (is_failed(last_)) return;
  last_.set_state(v1::WORKER_STATE_FAILED);
  last_.set_cause(cause);
  to_wire(reason, *last_.mutable_error());
}

Error ComputeProcess::failure_locked() const {
  return from_wire(last_.error()).value_or(Error{ErrorCode::kInternal, "failed"});
}

void ComputeProcess::pump() {
  const Deadline first_word = after(timing::kComputeStart);
  SilenceDetector silence(Clock::now(), timing::kSilence, timing::kOwnPause);
  Deadline next_ping = Clock::now();
  while (!stopping_.load()) {
    if (Clock::now() >= next_ping) {
      static_cast<void>(channel_.send(ControlKind::kPing, {}, after(timing::kControl)));
      next_ping = after(timing::kHeartbeat);
    }
    auto message = channel_.receive(after(timing::kWatch));
    const auto now = Clock::now();
    if (message) {
      silence.heard(now);
      handle(std::move(*message));
    } else if (message.error().code != ErrorCode::kDeadlineExceeded) {
      const auto status = child_->wait(after(timing::kReap));
      fail({ErrorCode::kInternal, status ? describe(*status) : "closed its control socket"},
           status && from_outside(*status) ? v1::FAILURE_CAUSE_OUTSIDE : v1::FAILURE_CAUSE_COMPUTE);
      return;
    }
    const auto silent = silence.check(now);
    if (silent && (spoke_ || now > first_word)) {
      const double seconds = std::chrono::duration<double>(*silent).count();
      fail({ErrorCode::kCancelled, fmt::format("stopped answering for {:.1f} s", seconds)});
      return;
    }
  }
}

void ComputeProcess::handle(ControlMessage message) {
  spoke_ = true;
  const auto parse = [&](auto& into) { return into.ParseFromString(message.payload); };
  bool good = true;
  switch (message.kind) {
    case ControlKind::kPong:
      handle_pong(message.payload);
      return;
    case ControlKind::kFailed: {
      v1::Error error;
      good = parse(error);
      const Error unknown{ErrorCode::kInternal, "failed"};
      if (good) fail(from_wire(error).value_or(unknown), cause_of(error));
      break;
    }
    case ControlKind::kLeft: {
      v1::Error error;
      good = parse(error);
      const std::lock_guard lock(mutex_);
      set_failed_locked(from_wire(error).value_or(Error{ErrorCode::kInternal, "left its ring"}),
                        cause_of(error));
      in_use_ = false;
      break;
    }
    case ControlKind::kProgress: {
      const std::lock_guard lock(mutex_);
      good = parse(progress_);
      break;
    }
    case ControlKind::kLoaded: {
      const std::lock_guard lock(mutex_);
      good = parse(loaded_.emplace());
      weight_bytes_ = loaded_->stage().weight_bytes();
      break;
    }
    case ControlKind::kStarted: {
      const std::lock_guard lock(mutex_);
      good = parse(started_.emplace());
      break;
    }
    default:
      good = false;
  }
  if (!good) {
    fail({ErrorCode::kInternal, "sent a control message that cannot be read"},
         v1::FAILURE_CAUSE_COMPUTE);
  }
  changed_.notify_all();
}

void ComputeProcess::handle_pong(const std::string& payload) {
  v1::HeartbeatReply reply;
  if (!reply.ParseFromString(payload)) {
    fail({ErrorCode::kInternal, "sent a heartbeat that cannot be read"}, v1::FAILURE_CAUSE_COMPUTE);
    return;
  }
  if (is_failed(reply)) {
    fail(from_wire(reply.error()).value_or(Error{ErrorCode::kInternal, "failed"}),
         v1::FAILURE_CAUSE_COMPUTE);
    return;
  }
  const std::lock_guard lock(mutex_);
  if (!is_failed(last_)) last_ = std::move(reply);
}

}  // namespace tandem::cluster
