#include "cluster/gateway/ring_watch.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <variant>

#include "cluster/timing.h"

namespace tandem::cluster {
namespace {

std::vector<FailureMachine::Watched> watched(const std::vector<WatchedRank>& ranks) {
  std::vector<FailureMachine::Watched> out;
  for (const WatchedRank& rank : ranks) out.push_back({rank.name, rank.process != nullptr});
  return out;
}

RankReport report_of(const WorkerHealth& health) {
  return {health.running,
          health.heard,
          health.last.ticks_started(),
          health.last.ticks_done(),
          health.last.received_bytes(),
          health.loss};
}

}  // namespace

RingWatch::RingWatch(std::vector<WatchedRank> ranks, std::function<void()> on_failure,
                     std::function<void()> on_look, std::function<std::uint64_t()> received)
    : ranks_(std::move(ranks)),
      on_failure_(std::move(on_failure)),
      on_look_(std::move(on_look)),
      received_(std::move(received)),
      machine_(watched(ranks_)),
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
  feed(TickAwaited{number, patience});
}

void RingWatch::link_broke(Error reason) {
  feed(LinkBroke{std::move(reason)});
  wake();
}

std::optional<Error> RingWatch::failure() const {
  const std::lock_guard lock(mutex_);
  return failed_ ? std::optional(failed_->error) : std::nullopt;
}

int RingWatch::dead_rank() const {
  const std::lock_guard lock(mutex_);
  return failed_ && failed_->died ? failed_->rank : -1;
}

bool RingWatch::answers(int rank) const {
  const std::lock_guard lock(mutex_);
  return !failed_ || std::ranges::find(failed_->unreachable, rank) == failed_->unreachable.end();
}

std::optional<Error> RingWatch::wait_failure(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return failed_.has_value(); });
  return failed_ ? std::optional(failed_->error) : std::nullopt;
}

void RingWatch::run() {
  Deadline next_look{};
  std::unique_lock lock(mutex_);
  while (!ending_ && !failed_) {
    lock.unlock();
    look();
    if (Clock::now() >= next_look) {
      next_look = after(timing::kLook);
      on_look_();
    }
    lock.lock();
    if (failed_) break;
    changed_.wait_for(lock, timing::kWatch, [&] { return ending_ || woken_; });
    woken_ = false;
  }
  const bool failed = failed_.has_value() && !ending_;
  lock.unlock();
  if (failed) on_failure_();
}

void RingWatch::look() {
  const auto now = Clock::now();
  Looked seen{{}, received_()};
  for (const WatchedRank& rank : ranks_) {
    rank.client->beat(now);
    seen.ranks.push_back(report_of(rank.client->health()));
  }
  const RingAction action = feed(std::move(seen));
  if (const auto* ask = std::get_if<AskHowItEnded>(&action)) {
    LocalWorker& process = *ranks_[static_cast<std::size_t>(ask->rank)].process;
    feed(ProcessEnded{ask->rank, process.death(after(timing::kBlame))});
  }
}

RingAction RingWatch::feed(const RingEvent& event) {
  RingAction action;
  {
    const std::lock_guard lock(mutex_);
    if (failed_) return GoOn{};
    action = machine_.on(event, Clock::now());
    if (const auto* failed = std::get_if<RingFailed>(&action)) failed_ = *failed;
  }
  if (std::holds_alternative<RingFailed>(action)) changed_.notify_all();
  return action;
}

}  // namespace tandem::cluster
