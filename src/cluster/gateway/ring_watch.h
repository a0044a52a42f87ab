#pragma once
// Notices that a rank died, stalled or lost a tick, and finds out which one it was.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cluster/gateway/failure_machine.h"
#include "cluster/gateway/local_worker.h"
#include "cluster/gateway/worker_client.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// What the watch knows of one rank. The pointers outlive the watch.
struct WatchedRank {
  WorkerClient* client = nullptr;
  LocalWorker* process = nullptr;  // null: on a host
  std::string name;                // "rank 1 (127.0.0.1:4001, layers 8..15)"
};

/// A thread that beats from its making on, and feeds a FailureMachine, whose first verdict is
/// final. All methods may be called from any thread.
class RingWatch {
 public:
  /// All are called from the watch's thread: `on_failure` once, `on_look` every kLook until then;
  /// `received` says how many bytes of frames the gateway has received.
  RingWatch(std::vector<WatchedRank> ranks, std::function<void()> on_failure,
            std::function<void()> on_look, std::function<std::uint64_t()> received);
  ~RingWatch();
  RingWatch(const RingWatch&) = delete;
  RingWatch& operator=(const RingWatch&) = delete;

  /// Ends the thread; failure() and wake() may be called still.
  void end();
  /// Makes the watch look at once.
  void wake();
  /// The gateway waits for the result of tick `number` (0: for none any more), which may rest
  /// between two ranks for `patience`, and longer while nobody waits for it.
  void await_tick(std::uint64_t number, Clock::duration patience);
  /// The gateway's own link broke: a failure of that reason, unless a rank's is found in kBlame.
  void link_broke(Error reason);

  std::optional<Error> failure() const;
  /// The rank that died, when that is what failure() says; -1: none.
  int dead_rank() const;
  /// False when failure() found that the rank's worker is gone or silent: it is asked nothing more.
  bool answers(int rank) const;
  /// Waits for failure() until `deadline`.
  std::optional<Error> wait_failure(Deadline deadline) const;

 private:
  void run();
  void look();
  RingAction feed(const RingEvent& event);

  const std::vector<WatchedRank> ranks_;
  const std::function<void()> on_failure_;
  const std::function<void()> on_look_;
  const std::function<std::uint64_t()> received_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool ending_ = false;
  bool woken_ = false;
  FailureMachine machine_;
  std::optional<RingFailed> failed_;
  std::thread thread_;
};

}  // namespace tandem::cluster
