#pragma once
// What a compute child's heartbeat thread may tell about the thread that computes.

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "cluster/rank/rank_work.h"
#include "cluster/rank/silence.h"
#include "tandem.pb.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// Shared by the computing thread, which writes, and the control thread, which reads. Every method
/// is a short critical section: a reader never waits for an evaluation.
class ProgressBoard {
 public:
  /// Stage::progress() of the running tick.
  using Progress = std::function<std::optional<std::uint64_t>()>;

  void set_state(v1::WorkerState state);
  /// Ticks are counted anew, and none runs; work goes on being summed.
  void begin_epoch();
  /// The computing thread begins and ends a tick of `load`. `progress` is asked, by the
  /// control thread, until end().
  void begin(std::uint64_t number, const cost::TickLoad& load, Clock::time_point now,
             Progress progress = nullptr);
  /// `kv_bytes`: what the stage now holds of KV.
  void end(Clock::time_point now, std::uint64_t kv_bytes = 0);
  /// The computing thread waits for a frame, until begin().
  void wait(Clock::time_point now);
  /// It has passed on a frame.
  void sent(std::uint64_t bytes);
  /// ticks_started is the number of the last begun tick, ticks_done of the last ended one. When a
  /// tick takes kStepFactor times what one of its rows and depth should, or makes no progress for
  /// timing::kComputeSilence, state is FAILED and error says so. Memory and link are left to the
  /// caller. Call it at each heartbeat: after a gap (this process was stopped) the silence is
  /// counted anew.
  v1::HeartbeatReply report(Clock::time_point now);

 private:
  struct Running {
    cost::TickLoad load;
    Clock::time_point since;
    Progress progress;
    std::optional<std::uint64_t> seen;
    SilenceDetector silence;
  };

  std::string overdue(Clock::time_point now);
  Clock::duration allowed(const cost::TickLoad& load) const;

  mutable std::mutex mutex_;
  v1::WorkerState state_ = v1::WORKER_STATE_IDLE;
  std::uint64_t started_ = 0;
  std::uint64_t done_ = 0;
  std::optional<Running> running_;
  WorkMeter meter_;
  std::uint64_t kv_bytes_ = 0;
};

}  // namespace tandem::cluster
