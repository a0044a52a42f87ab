#pragma once
// The supervisor's hold on one compute child.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "cluster/rank/control.h"
#include "cluster/rank/process.h"
#include "tandem.pb.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// Starts a compute child, talks to it and watches it. Its rank is in state FAILED, with the
/// reason, when the child left its ring: then it holds its layers and load() may be called again. A
/// child that dies, goes silent for kSilence, overruns its step budget or reports a failure of its
/// own is FAILED too, and killed: it is of no more use. All methods may be called from any thread,
/// load() and leave() by one at a time.
class ComputeProcess {
 public:
  /// Call it from a thread that outlives the child. `secrets` is sent to the child first.
  static Result<std::unique_ptr<ComputeProcess>> start(const std::string& executable,
                                                       const std::string& secrets);
  /// Kills and reaps the child.
  ~ComputeProcess();
  ComputeProcess(const ComputeProcess&) = delete;
  ComputeProcess& operator=(const ComputeProcess&) = delete;

  /// Adopts a plan, at first or after leave(). `progress` and `cancelled` are called from this
  /// thread, `progress` at least every kHeartbeat also when nothing changed; a load that makes no
  /// progress for kLoadSilence or is cancelled fails and kills the child.
  Result<v1::Loaded> load(const v1::LoadRequest& request,
                          const std::function<void(const v1::LoadProgress&)>& progress,
                          const std::function<bool()>& cancelled);
  /// Joins the ring, after load().
  Status join(const v1::StartRequest& request);

  /// The child's last word, or state FAILED and why.
  v1::HeartbeatReply heartbeat() const;
  /// True once the rank failed; waits for that until `deadline`.
  bool wait_failed(Deadline deadline) const;
  /// The child can be of no more use: it failed by itself or was killed.
  bool dead() const;
  /// Tells the child to leave its ring, without waiting for it.
  void ask_to_leave();
  /// Waits until it has left its ring, or never was in one; false when it is dead or did not leave
  /// by `deadline`.
  bool wait_left(Deadline deadline) const;
  /// Bytes of weights that the process holds: of its last load.
  std::uint64_t held_bytes() const;
  /// The process is gone, and with it what it held.
  bool ended() const { return child_->wait(Clock::now()).has_value(); }
  /// Ends the child as failed for `reason`, unless its rank failed before: then for that one.
  void fail(const Error& reason, v1::FailureCause cause = v1::FAILURE_CAUSE_OUTSIDE);

 private:
  explicit ComputeProcess(std::unique_ptr<ChildProcess> child);
  void pump();
  void handle(ControlMessage message);
  void handle_pong(const std::string& payload);
  Error failure_locked() const;
  void set_failed_locked(const Error& reason, v1::FailureCause cause);

  std::unique_ptr<ChildProcess> child_;
  ControlChannel channel_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  v1::HeartbeatReply last_;  // FAILED with error: the end
  v1::LoadProgress progress_;
  std::optional<v1::Loaded> loaded_;
  std::uint64_t weight_bytes_ = 0;  // of the last load, while the next one is under way too
  std::optional<v1::StartReply> started_;
  bool spoke_ = false;   // the child's first message has come
  bool dead_ = false;    // killed or gone
  bool in_use_ = false;  // told to load, and not out of the ring since
  int loads_ = 0;        // begun
  std::atomic<bool> stopping_{false};
  std::thread pump_;
};

}  // namespace tandem::cluster
