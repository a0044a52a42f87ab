#pragma once
// `tandem worker`: one machine's side of a cluster, and the compute child that it starts.

#include <cstdint>
#include <functional>
#include <string>

#include "cluster/rank/worker_place.h"
#include "cluster/trust/security.h"
#include "config/hosts.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// argv that makes this binary a compute child: `tandem kComputeCommand`. The child's control
/// socket is descriptor kControlFd. The CLI hides the command and calls run_compute_child().
inline constexpr const char* kComputeCommand = "compute-child";
/// The descriptor on which a started process finds its parent.
inline constexpr int kControlFd = 3;

struct WorkerOptions {
  std::string version;  // of this program, for people
  /// Loopback unless `security` allows more. port 0: any free one.
  config::Host listen{"127.0.0.1", config::kDefaultWorkerPort, {}};
  std::uint16_t data_port = 0;  // where ranks listen for frames; 0: any free one
  SecurityOptions security;
  WorkerPlace place;  // its rates are filled in
  bool probe = true;  // measure the CPU before the first gateway is answered
  /// Called once, when a gateway can connect, with the address and the real port; null: nobody
  /// asks. Not with `parent`.
  std::function<void(const config::Host&)> ready;
  /// Started by a gateway as `tandem worker --parent` (a hidden flag): listens on a free loopback
  /// port, reports it on kControlFd and ends when the parent does. The cluster key comes from there
  /// too, so it is never in argv. All other fields are ignored.
  bool parent = false;
};

/// Serves until SIGTERM, SIGINT or (with `parent`) the parent's end. Without `parent`,
/// `listening` is given lines for people, one at a time: where it waits, then each load, end and
/// refusal. kUnavailable: the port is in use, kInvalidArgument: an address that `security` does not
/// allow. Takes over SIGTERM, SIGINT and SIGPIPE of the process.
Status run_worker(const WorkerOptions& options,
                  const std::function<void(const std::string& line)>& listening);

/// The whole life of a compute child; the return value is the process's exit code.
int run_compute_child();

}  // namespace tandem::cluster
