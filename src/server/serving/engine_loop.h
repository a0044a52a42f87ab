#pragma once
// The thread that owns the engine, and the ways in from all others.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "scheduler/engine.h"
#include "server/serving/job.h"
#include "server/serving/restart_pacing.h"
#include "tandem/deadline.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::server {

enum class Phase {
  kLoading,     // the pipeline is being opened
  kReady,       // takes jobs
  kRestarting,  // the pipeline failed, for `reason`, and is being opened anew; jobs wait for it
  kDraining,    // takes none, finishes those it has
  kDead,        // the pipeline failed, for `reason`, and is not opened again
};

/// A copy of what is known of the engine.
struct EngineView {
  Phase phase = Phase::kLoading;
  std::string reason;              // with kRestarting and kDead, and kLoading after a failure
  bool overdue = false;            // with kRestarting: for longer than jobs wait
  std::uint64_t loaded_bytes = 0;  // of all ranks, so far
  std::uint64_t total_bytes = 0;   // 0: not known yet
  scheduler::EngineStats stats;
  std::uint64_t waiting = 0;         // requests: in the mailbox, and those of the engine without KV
  std::vector<RankInfo> ranks = {};  // see detailed_view()
  int context_max = 0;               // tokens; 0 until loaded
  bool busy = false;
  Clock::time_point progress;  // when the engine last finished a step or was idle
  double prompt_tps = 0;       // computed tokens a second, over the last seconds
  double decode_tps = 0;
  std::uint64_t restarts = 0;  // times that the pipeline was opened anew
};

struct EngineLoopOptions {
  scheduler::EngineOptions engine;
  std::uint64_t waiting_max = 256;                    // requests that wait; submit() refuses more
  Clock::duration step_time = std::chrono::hours(1);  // backstop of one step; ranks notice earlier
  RestartLimits restart;
  /// What befell the pipeline, one line for people. Called by the engine's thread.
  std::function<void(const std::string& line)> note = [](const std::string&) {};
};

class EngineLoop {
 public:
  explicit EngineLoop(EngineLoopOptions options);
  ~EngineLoop();
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  using Open = std::function<Result<std::unique_ptr<Pipeline>>(const RankProgress& progress)>;
  /// Opens the pipeline and runs the engine on the calling thread, until drain() and the last job's
  /// end or stop(). Fails when the pipeline cannot be opened for a reason that waiting does not
  /// mend; for a rank or worker that is gone it tries again. One that fails later is opened anew,
  /// for as long as it takes, and the jobs go on where they were, or fail when that took longer
  /// than options.restart says. `loaded` is called once the loop takes jobs.
  Status run(const Open& open, const std::function<void()>& loaded);

  /// From any thread. kUnavailable: loading, draining, dead, or restarting for longer than jobs
  /// wait; kResourceLimit: too many wait. Then the listener is not called. What the engine says of
  /// the requests reaches the listener.
  Status submit(Job job);
  /// No new jobs; run() returns when those there are have ended.
  void drain();
  /// Ends all jobs with kUnavailable and makes run() return.
  void stop();

  /// Without the ranks.
  EngineView view() const;
  /// With the ranks, as they are now, or as they last were while there is no pipeline.
  EngineView detailed_view() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::server
