#pragma once
// A worker's state: at most one rank, held for one gateway, and a compute child ready for the next.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cluster/rank/compute_process.h"
#include "cluster/timing.h"
#include "tandem.pb.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// Never touches MLX: what computes is a child that it may kill. A gateway is known by its name,
/// and by the epoch of its pipeline, which no other gateway has. Its rank is held until it says so,
/// its lease ends (no heartbeat for kGatewaySilence) or its heartbeat stream breaks; the layers
/// stay in the child for kKeepLayers, for that gateway's next epoch, unless it said that it needs
/// none or another gateway comes. All methods but serve() may be called from any thread.
class Supervisor {
 public:
  /// `executable` is this binary; `secrets` goes to every compute child. `gateway_silence`: how
  /// long a rank is held for a gateway that says nothing.
  Supervisor(std::string executable, std::string secrets,
             Clock::duration gateway_silence = timing::kGatewaySilence);

  /// Starts and ends compute children until stop(). Call it from a thread that lives as long as the
  /// process: on Linux children die with the thread that started them.
  void serve();
  void stop();

  /// kUnavailable while another gateway's rank is held. A rank that this gateway holds of an older
  /// epoch gives way, and its child reads only what it lacks; a load of an epoch that is not newer
  /// is kUnavailable.
  Result<v1::Loaded> load(const v1::LoadRequest& request,
                          const std::function<void(const v1::LoadProgress&)>& progress,
                          const std::function<bool()>& cancelled);
  Status join(const v1::StartRequest& request);
  /// The rank of `epoch`, whose lease this renews; null when it is not held (any more).
  std::shared_ptr<ComputeProcess> heartbeat(std::uint64_t epoch);
  /// Ends the rank of `epoch`; nothing when it is not held. `keep`: its child and layers stay,
  /// and the call waits, for kLeave at most, until it has left its ring and freed its KV.
  void release(std::uint64_t epoch, bool keep);
  /// Bytes of weights that a load re-uses or drops, or that a killed child is about to free.
  std::uint64_t held_bytes();
  Clock::duration gateway_silence() const { return gateway_silence_; }

 private:
  // Shared, because a call may still use the process while another one gives it up.
  struct Rank {
    std::string gateway;
    std::uint64_t epoch = 0;
    std::shared_ptr<ComputeProcess> process;
    std::optional<Deadline> lease;  // none while it loads
    std::string layers;             // for messages
    // Set when the rank was given up and only its layers are kept, until then.
    std::optional<Deadline> kept_until = {};
  };

  Result<std::shared_ptr<ComputeProcess>> claim(const v1::LoadRequest& request);
  Result<std::shared_ptr<ComputeProcess>> find(std::uint64_t epoch);
  void keep_spare();
  void end_overdue();
  void give_up(bool keep, Error reason);
  Result<std::shared_ptr<ComputeProcess>> take_spare(std::unique_lock<std::mutex>& lock,
                                                     const v1::LoadRequest& request);
  void reap();
  bool port_is_free();

  const std::string executable_;
  const std::string secrets_;
  const bool fixed_port_;  // children listen for frames on one port, one after the other
  const Clock::duration gateway_silence_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::optional<Rank> rank_;
  std::shared_ptr<ComputeProcess> spare_;
  // Killed, and watched until they are gone: one in uninterruptible sleep lives until it wakes.
  std::vector<std::shared_ptr<ComputeProcess>> ending_;
  std::string spawn_failure_;
  Deadline next_spawn_{};
};

}  // namespace tandem::cluster
