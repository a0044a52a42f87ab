#include "cluster/rank/supervisor.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "cluster/timing.h"
#include "cluster/trust/secrets.h"
#include "cluster/wire/net_address.h"

namespace tandem::cluster {

namespace {

bool has_fixed_port(const std::string& secrets) {
  const auto unpacked = unpack_secrets(secrets);
  return unpacked && port_of(unpacked->listen) != 0;
}

}  // namespace

Supervisor::Supervisor(std::string executable, std::string secrets, Clock::duration gateway_silence)
    : executable_(std::move(executable)),
      secrets_(std::move(secrets)),
      fixed_port_(has_fixed_port(secrets_)),
      gateway_silence_(gateway_silence) {}

void Supervisor::serve() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    end_overdue();
    reap();
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

// One child waits for the next load while no other can take it, so that it begins at once.
void Supervisor::keep_spare() {
  {
    const std::lock_guard lock(mutex_);
    if (spare_ && spare_->wait_failed(Clock::now())) {
      spawn_failure_ = spare_->heartbeat().error().message();
      ending_.push_back(std::exchange(spare_, nullptr));
      next_spawn_ = after(timing::kRespawn);
    }
    const bool served = rank_ && !rank_->process->dead();
    if (served || spare_ || stopping_ || Clock::now() < next_spawn_) return;
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
  const std::lock_guard lock(mutex_);
  if (!rank_) return;
  const auto now = Clock::now();
  const Error silent{ErrorCode::kUnavailable, "was given up: its gateway went silent"};
  if (rank_->lease && now > *rank_->lease) {
    give_up(true, silent);
  } else if (rank_->kept_until && (now > *rank_->kept_until || rank_->process->dead())) {
    give_up(false, silent);
  }
}

// With the mutex held.
void Supervisor::give_up(bool keep, Error reason) {
  if (keep && !rank_->process->dead()) {
    rank_->lease.reset();
    rank_->kept_until = after(timing::kKeepLayers);
    rank_->process->ask_to_leave();
    return;
  }
  rank_->process->fail(std::move(reason));
  ending_.push_back(std::move(rank_->process));
  rank_.reset();
}

void Supervisor::reap() {
  std::vector<std::shared_ptr<ComputeProcess>> gone;  // destroyed without the lock
  {
    const std::lock_guard lock(mutex_);
    const auto end = std::partition(ending_.begin(), ending_.end(),
                                    [](const auto& process) { return !process->ended(); });
    std::move(end, ending_.end(), std::back_inserter(gone));
    ending_.erase(end, ending_.end());
  }
  if (!gone.empty()) changed_.notify_all();
}

// A killed child holds its port until its memory is unmapped, and for ever in uninterruptible
// sleep.
bool Supervisor::port_is_free() {
  if (!fixed_port_) return true;
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, after(timing::kReap), [&] { return ending_.empty(); });
}

Result<std::shared_ptr<ComputeProcess>> Supervisor::take_spare(std::unique_lock<std::mutex>& lock,
                                                               const v1::LoadRequest& request) {
  const bool ready = changed_.wait_until(lock, after(timing::kComputeStart),
                                         [&] { return stopping_ || spare_ || rank_; });
  if (stopping_) return Error{ErrorCode::kUnavailable, "is stopping"};
  if (rank_) return Error{ErrorCode::kUnavailable, "is busy: another gateway came first"};
  if (!ready) {
    return Error{ErrorCode::kUnavailable, "cannot start a compute process: " + spawn_failure_};
  }
  rank_ = Rank{request.gateway(), request.epoch(), std::exchange(spare_, nullptr), std::nullopt,
               fmt::format("{}..{}", request.first_layer(), request.last_layer() - 1)};
  return rank_->process;
}

Result<std::shared_ptr<ComputeProcess>> Supervisor::claim(const v1::LoadRequest& request) {
  std::unique_lock lock(mutex_);
  const bool same = rank_ && rank_->gateway == request.gateway();
  if (same && request.epoch() <= rank_->epoch) {
    return Error{ErrorCode::kUnavailable, "was loaded anew by this gateway meanwhile"};
  }
  const bool held = rank_ && !rank_->kept_until && !rank_->process->wait_failed(Clock::now());
  if (held && !same) {
    return Error{ErrorCode::kUnavailable,
                 fmt::format("is busy: it holds layers {} for another gateway", rank_->layers)};
  }
  if (same && !rank_->process->dead()) {
    // The rank is the new epoch's from now on, whoever else asks meanwhile.
    const auto process = rank_->process;
    rank_ = Rank{request.gateway(), request.epoch(), process, std::nullopt,
                 fmt::format("{}..{}", request.first_layer(), request.last_layer() - 1)};
    lock.unlock();
    process->ask_to_leave();
    if (process->wait_left(after(timing::kLeave))) return process;
    lock.lock();
    if (!rank_ || rank_->process != process) {
      return Error{ErrorCode::kUnavailable, "was loaded anew by this gateway meanwhile"};
    }
  }
  if (rank_) {
    give_up(false, {ErrorCode::kCancelled,
                    same ? "was loaded anew by its gateway" : "gave way to another gateway"});
  }
  return take_spare(lock, request);
}

Result<v1::Loaded> Supervisor::load(const v1::LoadRequest& request,
                                    const std::function<void(const v1::LoadProgress&)>& progress,
                                    const std::function<bool()>& cancelled) {
  auto process = claim(request);
  if (!process) return process.error();
  v1::LoadRequest order = request;
  order.set_any_port(!port_is_free());
  auto loaded = (*process)->load(order, progress, cancelled);
  if (!loaded) {
    release(request.epoch(), false);
    return loaded;
  }
  const std::lock_guard lock(mutex_);
  if (rank_ && rank_->epoch == request.epoch()) rank_->lease = after(timing::kLease);
  return loaded;
}

Result<std::shared_ptr<ComputeProcess>> Supervisor::find(std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (rank_ && rank_->epoch == epoch && !rank_->kept_until) return rank_->process;
  return Error{ErrorCode::kUnavailable, "holds no rank of this gateway any more"};
}

Status Supervisor::join(const v1::StartRequest& request) {
  auto process = find(request.epoch());
  if (!process) return process.error();
  return (*process)->join(request);
}

std::shared_ptr<ComputeProcess> Supervisor::heartbeat(std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (!rank_ || rank_->epoch != epoch || rank_->kept_until) return nullptr;
  if (rank_->lease) rank_->lease = after(gateway_silence_);
  return rank_->process;
}

// Memory for KV is free again when a gateway's Stop is answered: it shares out what is free next.
void Supervisor::release(std::uint64_t epoch, bool keep) {
  std::shared_ptr<ComputeProcess> leaving;
  {
    const std::lock_guard lock(mutex_);
    if (rank_ && rank_->epoch == epoch) {
      if (keep) leaving = rank_->process;
      give_up(keep, {ErrorCode::kCancelled, "was released by its gateway"});
    }
  }
  changed_.notify_all();
  if (leaving) static_cast<void>(leaving->wait_left(after(timing::kLeave)));
}

std::uint64_t Supervisor::held_bytes() {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = rank_ ? rank_->process->held_bytes() : 0;
  for (const auto& process : ending_) bytes += process->held_bytes();
  return bytes;
}

}  // namespace tandem::cluster
