// `tandem worker`: one machine's side of a cluster.

#include "cluster/worker.h"

#include "cli/commands.h"

namespace tandem::cli {

Status run_worker_command(const WorkerCommand& options, Console& console) {
  return cluster::run_worker(options.worker, [&](const std::string& address) {
    console.note("tandem worker: waiting for a gateway at " + address + "\n");
  });
}

}  // namespace tandem::cli
