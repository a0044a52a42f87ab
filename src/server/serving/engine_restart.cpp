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
  if (shared.phase == Phase::kRestarting) shared.phase = Phase::kReady;
}

bool EngineLoop::Impl::restart(scheduler::Engine& engine, const Open& open, Error error) {
  Deadline next{};
  const auto attend = [&] {
    const auto now = Clock::now();
    if (now < next) return;
    next = now + kAttend;
    jobs.drop_unwanted(now, [&](std::uint64_t sequence) { engine.cancel(sequence); });
  };
  const Error first = error;
  while (true) {
    const auto wait = pacing.failed(Clock::now());
    if (!wait || is_final(error)) break;
    options.note(fmt::format("{}; the model is loaded again", error.message));
    begin_restart(error);
    slot.clear();
    if (!rest(*wait, attend)) break;
    auto opened = load(open, attend);
    if (opened) {
      slot.put(std::move(*opened));
      pacing.opened(Clock::now());
      end_restart(engine, first);
      const scheduler::EngineStats stats = engine.stats();
      options.note(fmt::format("the model is loaded again; {} requests go on", stats.waiting));
      return true;
    }
    error = opened.error();
  }
  options.note(fmt::format("{}; the model stays unloaded", error.message));
  die(error);
  return false;
}

}  // namespace tandem::server
