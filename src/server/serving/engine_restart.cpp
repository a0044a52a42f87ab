// How an EngineLoop opens its pipeline, and opens it anew when it failed.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "server/serving/engine_loop_state.h"

namespace tandem::server {
namespace {

/// How often jobs are looked after while there is no pipeline: clients that left, streams that
/// should say that they live.
constexpr std::chrono::milliseconds kAttend{200};

/// Opening it again would fail the same way.
bool is_final(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kNotFound;
}

}  // namespace

Result<std::unique_ptr<Pipeline>> EngineLoop::Impl::load(const Open& open,
                                                         const std::function<void()>& meanwhile) {
  std::map<int, std::pair<std::uint64_t, std::uint64_t>> ranks;
  return open([&](int rank, std::uint64_t done, std::uint64_t total) {
    ranks[rank] = {done, total};
    {
      const std::lock_guard lock(mutex);
      shared.loaded_bytes = 0;
      shared.total_bytes = 0;
      for (const auto& [ignored, bytes] : ranks) {
        shared.loaded_bytes += bytes.first;
        shared.total_bytes += bytes.second;
      }
    }
    meanwhile();
  });
}

bool EngineLoop::Impl::rest(Clock::duration wait, const std::function<void()>& meanwhile) {
  const Deadline end = after(wait);
  std::unique_lock lock(mutex);
  while (!stopped && Clock::now() < end) {
    woken.wait_until(lock, std::min(end, after(kAttend)), [this] { return stopped; });
    lock.unlock();
    meanwhile();
    lock.lock();
  }
  return !stopped;
}

void EngineLoop::Impl::begin_restart(const Error& error) {
  const std::lock_guard lock(mutex);
  if (shared.phase == Phase::kReady) shared.phase = Phase::kRestarting;
  shared.reason = error.message;
  shared.loaded_bytes = 0;
  shared.total_bytes = 0;
}

void EngineLoop::Impl::end_restart(scheduler::Engine& engine, const Error& error) {
  engine.pipeline_reopened(error);
  publish(engine);
  const std::lock_guard lock(mutex);
  ++shared.restarts;
  shared.context_max = engine.context_max();
  shared.reason.clear();
  shared.overdue = false;
  if (shared.phase == Phase::kRestarting) shared.phase = Phase::kReady;
}

void EngineLoop::Impl::attend(const Error& error, const JobTable::Cancel& cancel) {
  const auto now = Clock::now();
  if (now < next_attend) return;
  next_attend = now + kAttend;
  const bool overdue = pacing.overdue(now);
  {
    const std::lock_guard lock(mutex);
    shared.overdue = overdue;
    for (Job& job : mailbox) arrived.push_back(std::move(job));
    mailbox.clear();
  }
  std::erase_if(arrived, [&](const Job& job) {
    const bool wanted = !overdue && job.listener->wanted(now);
    if (overdue) job.listener->failed(error);
    return !wanted;
  });
  if (overdue) {
    jobs.fail_all(error, cancel);
  } else {
    jobs.drop_unwanted(now, cancel);
  }
  std::uint64_t waiting = 0;
  for (const Job& job : arrived) waiting += job.requests.size();
  const std::lock_guard lock(mutex);
  mailed = waiting;
}

std::unique_ptr<Pipeline> EngineLoop::Impl::open_again(const Open& open, Error error,
                                                       const JobTable::Cancel& cancel) {
  while (true) {
    const auto see_to_jobs = [&] { attend(error, cancel); };
    if (error.message != noted) options.note(error.message + "; the model is loaded again");
    noted = error.message;
    begin_restart(error);
    if (!rest(pacing.failed(Clock::now()), see_to_jobs)) return nullptr;
    auto opened = load(open, see_to_jobs);
    if (opened) return std::move(*opened);
    error = opened.error();
    if (is_final(error)) {  // nobody should wait for what a person has to mend
      jobs.fail_all(error, cancel);
    }
  }
}

bool EngineLoop::Impl::restart(scheduler::Engine& engine, const Open& open, const Error& error) {
  slot.clear();
  if (!options.restart.forever) {
    options.note(fmt::format("{}; the model stays unloaded", error.message));
    die(error);
    return false;
  }
  const auto cancel = [&](std::uint64_t sequence) { engine.cancel(sequence); };
  noted.clear();
  auto opened = open_again(open, error, cancel);
  if (!opened) {
    die({ErrorCode::kUnavailable, "the server is stopping"});
    return false;
  }
  slot.put(std::move(opened));
  end_restart(engine, error);
  options.note(fmt::format("the model is loaded again; {} requests go on", engine.stats().waiting));
  return true;
}

Status EngineLoop::Impl::open_first(const Open& open) {
  auto opened = load(open, [] {});
  if (opened) {
    slot.put(std::move(*opened));
    return {};
  }
  const Error& error = opened.error();
  const bool lost =
      error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded;
  if (!lost || !options.restart.forever) return error;
  auto pipeline = open_again(open, error, {});
  if (!pipeline) return error;
  slot.put(std::move(pipeline));
  const std::lock_guard lock(mutex);
  shared.reason.clear();
  return {};
}

}  // namespace tandem::server
