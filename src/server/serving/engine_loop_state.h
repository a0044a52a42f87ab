#pragma once
// What an EngineLoop knows; engine_loop.cpp runs it, engine_restart.cpp opens its pipeline.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "server/serving/engine_loop.h"
#include "server/serving/job_table.h"
#include "server/serving/pipeline_slot.h"
#include "server/serving/restart_pacing.h"
#include "server/serving/token_rate.h"

namespace tandem::server {

struct EngineLoop::Impl {
  explicit Impl(EngineLoopOptions given) : options(std::move(given)), pacing(options.restart) {}

  Status run(const Open& open, const std::function<void()>& loaded);
  /// `meanwhile` is called every now and then.
  Result<std::unique_ptr<Pipeline>> load(const Open& open, const std::function<void()>& meanwhile);
  /// Takes what waits in the mailbox; waits for something while `idle`. False: the end.
  bool receive(bool idle);
  void admit(scheduler::Engine& engine, Job job);
  Status step(scheduler::Engine& engine);
  void publish(const scheduler::Engine& engine);
  void die(const Error& error);

  /// Opens the pipeline for the first time, as often as it takes while a rank or a worker is gone.
  Status open_first(const Open& open);
  /// The pipeline failed for `error`: opens it anew. False: stopped, or it stays dead.
  bool restart(scheduler::Engine& engine, const Open& open, const Error& error);
  /// It failed for `error`: tries until it opens; null: stopped.
  std::unique_ptr<Pipeline> open_again(const Open& open, Error error,
                                       const JobTable::Cancel& cancel);
  /// Every now and then while there is no pipeline, for `error`: who left is let go, and who has
  /// waited for longer than options.restart.recovery_timeout is told why.
  void attend(const Error& error, const JobTable::Cancel& cancel);
  void begin_restart(const Error& error);
  void end_restart(scheduler::Engine& engine, const Error& error);
  /// Sees to the jobs for `wait`. False: stopped.
  bool rest(Clock::duration wait, const std::function<void()>& meanwhile);

  bool over() const { return stopped || (phase() == Phase::kDraining && mailbox.empty()); }
  Phase phase() const { return shared.phase; }

  const EngineLoopOptions options;
  PipelineSlot slot;

  // Of the engine's thread.
  std::deque<Job> arrived;
  JobTable jobs;
  TokenRate rate;
  RestartPacing pacing;
  Deadline next_attend{};
  std::string noted;  // why the pipeline could not be opened, as last said to people

  mutable std::mutex mutex;
  std::condition_variable woken;
  // Under the mutex.
  std::deque<Job> mailbox;
  std::uint64_t mailed = 0;  // requests in the mailbox
  bool stopped = false;
  EngineView shared;
};

}  // namespace tandem::server
