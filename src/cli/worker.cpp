// `tandem worker`: one machine's side of a cluster.

#include "cluster/rank/worker.h"

#include "cli/commands.h"
#include "cli/utc_time.h"

namespace tandem::cli {

Status run_worker_command(const WorkerCommand& options, Console& console) {
  cluster::WorkerOptions worker = options.worker;
  worker.version = TANDEM_VERSION;
  const auto log = [&](const std::string& line) { console.note(utc_now() + " " + line + "\n"); };
  return cluster::run_worker(
      worker,
      [&](const std::string& address) {
        console.note("tandem worker: waiting for a gateway at " + address + "\n");
      },
      log);
}

}  // namespace tandem::cli
