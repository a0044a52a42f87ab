#pragma once
// A `tandem worker` that this process starts on its own machine.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/rank/control.h"
#include "cluster/rank/process.h"
#include "config/hosts.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// Dies with its owner. Not thread-safe but for death().
class LocalWorker {
 public:
  /// Call it from a thread that outlives the worker. `key` is the cluster key that it will want.
  static Result<std::unique_ptr<LocalWorker>> start(const std::string& executable,
                                                    const std::string& key);

  /// Waits until it listens, at the first call; the address on loopback.
  Result<config::Host> listening(Deadline deadline);
  /// How it ended ("was killed by signal 9"), waiting for that until `deadline`; nullopt: it runs.
  std::optional<std::string> death(Deadline deadline);
  /// Asks it to end; returns at once.
  void ask_to_end();
  /// Waits for the end, and kills it when it does not come by `deadline`.
  void end(Deadline deadline);

 private:
  explicit LocalWorker(std::unique_ptr<ChildProcess> child);
  std::unique_ptr<ChildProcess> child_;
  ControlChannel channel_;
  std::optional<config::Host> host_;
};

/// The workers of a gateway's own machine, from one pipeline to the next.
struct LocalWorkers {
  std::string key;                                    // their cluster key
  std::vector<std::unique_ptr<LocalWorker>> workers;  // in rank order

  /// Ends all.
  ~LocalWorkers();
};

}  // namespace tandem::cluster
