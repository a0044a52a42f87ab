#include "cluster/rank/supervisor.h"

#include <fmt/format.h>

#include <utility>

#include "cluster/timing.h"

namespace tandem::cluster {

Supervisor::Supervisor(std::string executable, std::string secrets, Clock::duration gateway_silence)
    : executable_(std::move(executable)),
      secrets_(std::move(secrets)),
      gateway_silence_(gateway_silence) {}

void Supervisor::serve() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    end_overdue();
    keep_spare();
    lock.lock();
    changed_.wait_for(lock, timing::kWatch, [&] { return stopping_; });
  }
  const auto rank = std::exchange(rank_, std::nullopt);
  const auto spare = std::exchange(spare_, nullptr);
  lock.unlock();  // both are killed on the way out, when no call uses them any more
}

void Supervisor::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    const Error reason{ErrorCode::kUnavailable, "the worker was told to stop"};
    if (rank_) rank_->process->fail(reason);
    if (spare_) spare_->fail(reason);
  }
  changed_.notify_all();
}

// One child waits for the next gateway while no rank is held, so that a load begins at once.
void Supervisor::keep_spare() {
  std::shared_ptr<ComputeProcess> failed;  // destroyed, which waits for its end, without the lock
  {
    const std::lock_guard lock(mutex_);
    if (spare_ && spare_->wait_failed(Clock::now())) {
      spawn_failure_ = spare_->heartbeat().error().message();
      failed = std::exchange(spare_, nullptr);
      next_spawn_ = after(timing::kRespawn);
    }
    if (rank_ || spare_ || stopping_ || Clock::now() < next_spawn_) return;
  }
  auto started = ComputeProcess::start(executable_, secrets_);
  {
    const std::lock_guard lock(mutex_);
    if (started) {
      spare_ = std::move(*started);
    } else {
      spawn_failure_ = started.error().message;
      next_spawn_ = after(timing::kRespawn);
    }
  }
  changed_.notify_all();
}

void Supervisor::end_overdue() {
  std::optional<Rank> ended;
  const std::lock_guard lock(mutex_);
  if (rank_ && rank_->lease && Clock::now() > *rank_->lease) ended = std::exchange(rank_, {});
  if (ended) {
    ended->process->fail({ErrorCode::kUnavailable, "was given up: its gateway went silent"});
  }
}

Result<std::shared_ptr<ComputeProcess>> Supervisor::claim(const v1::LoadRequest& request) {
  std::optional<Rank> failed;  // destroyed after the lock is
  std::unique_lock lock(mutex_);
  if (rank_ && !rank_->process->wait_failed(Clock::now())) {
    return Error{ErrorCode::kUnavailable,
                 fmt::format("is busy: it holds layers {} for another gateway", rank_->layers)};
  }
  failed = std::exchange(rank_, std::nullopt);
  const bool ready = changed_.wait_until(lock, after(timing::kComputeStart),
                                         [&] { return stopping_ || spare_ || rank_; });
  if (stopping_) return Error{ErrorCode::kUnavailable, "is stopping"};
  if (rank_) return Error{ErrorCode::kUnavailable, "is busy: another gateway came first"};
  if (!ready) {
    return Error{ErrorCode::kUnavailable, "cannot start a compute process: " + spawn_failure_};
  }
  rank_ = Rank{request.epoch(), std::exchange(spare_, nullptr), std::nullopt,
               fmt::format("{}..{}", request.first_layer(), request.last_layer() - 1)};
  return rank_->process;
}

Result<v1::Loaded> Supervisor::load(const v1::LoadRequest& request,
                                    const std::function<void(const v1::LoadProgress&)>& progress,
                                    const std::function<bool()>& cancelled) {
  auto process = claim(request);
  if (!process) return process.error();
  auto loaded = (*process)->load(request, progress, cancelled);
  if (!loaded) {
    release(request.epoch());
    return loaded;
  }
  const std::lock_guard lock(mutex_);
  if (rank_ && rank_->epoch == request.epoch()) rank_->lease = after(timing::kLease);
  return loaded;
}

Result<std::shared_ptr<ComputeProcess>> Supervisor::find(std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (rank_ && rank_->epoch == epoch) return rank_->process;
  return Error{ErrorCode::kUnavailable, "holds no rank of this gateway any more"};
}

Status Supervisor::join(const v1::StartRequest& request) {
  auto process = find(request.epoch());
  if (!process) return process.error();
  return (*process)->join(request);
}

std::shared_ptr<ComputeProcess> Supervisor::heartbeat(std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (!rank_ || rank_->epoch != epoch) return nullptr;
  if (rank_->lease) rank_->lease = after(gateway_silence_);
  return rank_->process;
}

void Supervisor::release(std::uint64_t epoch) {
  std::optional<Rank> ended;
  {
    const std::lock_guard lock(mutex_);
    if (rank_ && rank_->epoch == epoch) ended = std::exchange(rank_, std::nullopt);
  }
  if (ended) ended->process->fail({ErrorCode::kCancelled, "was released by its gateway"});
  changed_.notify_all();
}

}  // namespace tandem::cluster
