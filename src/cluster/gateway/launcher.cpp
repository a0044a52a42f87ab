#include "cluster/gateway/launcher.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cluster/gateway/local_pipeline.h"
#include "cluster/gateway/remote_pipeline.h"
#include "cluster/trust/credentials.h"

namespace tandem::cluster {

// The first epoch is random, so that a frame of another gateway's ring is never one of ours; the
// highest bits are left for counting.
Launcher::Launcher() {
  name_.name = make_nonce();
  std::memcpy(&name_.epoch, make_nonce().data(), sizeof name_.epoch);
  name_.epoch >>= 2;
}

Result<std::unique_ptr<Pipeline>> Launcher::open(const PipelineOptions& options,
                                                 const RankProgress& progress) {
  if (options.ranks < 1) return invalid("--ranks must be at least 1");
  if (options.hosts.empty() && options.ranks == 1) {
    stage::StageOptions alone = options.stage;
    alone.layers = options.layers.empty() ? LayerRange{} : options.layers.front();
    return local_pipeline(alone, progress);
  }
  ++name_.epoch;
  return open_remote_pipeline(options, name_, local_, progress);
}

void exit_process(int code) {
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace tandem::cluster
