#include "cluster/gateway/ring_watch.h"

#include <fmt/format.h>

#include <cstddef>
#include <utility>

#include "cluster/timing.h"

namespace tandem::cluster {

RingWatch::RingWatch(std::vector<WatchedRank> ranks, std::function<void()> on_failure,
                     std::function<void()> on_look)
    : ranks_(std::move(ranks)),
      on_failure_(std::move(on_failure)),
      on_look_(std::move(on_look)),
      lost_tick_(timing::kOwnPause),
      thread_([this] { run(); }) {}

RingWatch::~RingWatch() { end(); }

void RingWatch::end() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void RingWatch::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void RingWatch::await_tick(std::uint64_t number, Clock::duration patience) {
  const std::lock_guard lock(mutex_);
  lost_tick_.await(number, patience, Clock::now());
}

void RingWatch::link_broke(Error reason) {
  {
    const std::lock_guard lock(mutex_);
    suspect(std::move(reason), Clock::now());
    woken_ = true;
  }
  changed_.notify_all();
}

std::optional<Error> RingWatch::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

std::optional<Error> RingWatch::wait_failure(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return failure_.has_value(); });
  return failure_;
}

void RingWatch::run() {
  Deadline next_look{};
  std::unique_lock lock(mutex_);
  while (!ending_ && !failure_) {
    lock.unlock();
    const auto now = Clock::now();
    inspect(now);
    if (now >= next_look) {
      next_look = now + timing::kLook;
      on_look_();
    }
    lock.lock();
    if (failure_) break;
    changed_.wait_for(lock, timing::kWatch, [&] { return ending_ || woken_; });
    woken_ = false;
  }
  const bool failed = failure_.has_value() && !ending_;
  lock.unlock();
  if (failed) on_failure_();
}

// The code is the verdict: kUnavailable for what comes from outside (a rank says kCancelled when it
// was killed or stopped), any other for what an input may have caused.
//
// A rank's own death or stall explains everything else; that it lost a neighbour explains nothing
// unless no neighbour turns out to be dead.
void RingWatch::inspect(Clock::time_point now) {
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    ranks_[i].client->beat(now);
    const WorkerHealth health = ranks_[i].client->health();
    const auto& reason = health.failure;
    if (!reason) continue;
    Error named{reason->code, ranks_[i].name + " " + reason->message};
    if (reason->code == ErrorCode::kUnavailable) {
      const std::lock_guard lock(mutex_);
      suspect(std::move(named), now);
      continue;
    }
    if (health.connection_lost) {
      named = explain(ranks_[i], std::move(named));
      named.code = ErrorCode::kUnavailable;  // a worker computes nothing that an input could harm
    }
    settle(std::move(named));
    return;
  }
  check_lost_tick(now);
  std::optional<Suspicion> ripe;
  {
    const std::lock_guard lock(mutex_);
    if (suspicion_ && now - suspicion_->since >= timing::kBlame) ripe = suspicion_;
  }
  if (ripe) settle(ripe->error);
}

// A broken connection to a local worker: its exit status says more.
Error RingWatch::explain(const WatchedRank& rank, Error broken) const {
  if (rank.process == nullptr) return broken;
  if (const auto death = rank.process->death(after(timing::kBlame))) {
    broken.message = rank.name + " " + *death;
  }
  return broken;
}

// Every rank answers, none computes, nothing moves, and still an awaited tick has not come back.
void RingWatch::check_lost_tick(Clock::time_point now) {
  std::uint64_t done = 0;
  bool computing = false;
  std::vector<std::uint64_t> last;
  for (const WatchedRank& rank : ranks_) {
    const WorkerHealth health = rank.client->health();
    if (!health.running) return;
    computing = computing || health.last.ticks_started() != health.last.ticks_done();
    done += health.last.ticks_done();
    last.push_back(health.last.ticks_done());
  }
  std::uint64_t lost = 0;
  {
    const std::lock_guard lock(mutex_);
    lost = lost_tick_.check(done, computing, now);
  }
  if (lost == 0) return;
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    if (last[i] >= lost) continue;
    settle({ErrorCode::kUnavailable,
            fmt::format("tick {} was lost on its way to {}", lost, ranks_[i].name)});
    return;
  }
  settle({ErrorCode::kUnavailable, fmt::format("the result of tick {} was lost on its way from {}",
                                               lost, ranks_.back().name)});
}

void RingWatch::suspect(Error error, Clock::time_point now) {
  if (!suspicion_) suspicion_ = Suspicion{std::move(error), now};
}

void RingWatch::settle(Error error) {
  if (error.code == ErrorCode::kCancelled) error.code = ErrorCode::kUnavailable;
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = std::move(error);
  }
  changed_.notify_all();
}

}  // namespace tandem::cluster
