#include "cluster/gateway/launcher.h"

#include <cstdio>
#include <cstdlib>

#include "cluster/gateway/local_pipeline.h"
#include "cluster/gateway/remote_pipeline.h"

namespace tandem::cluster {

Result<std::unique_ptr<Pipeline>> open_pipeline(const PipelineOptions& options,
                                                const RankProgress& progress) {
  if (options.ranks < 1) return invalid("--ranks must be at least 1");
  if (options.hosts.empty() && options.ranks == 1) {
    stage::StageOptions alone = options.stage;
    alone.layers = options.layers.empty() ? LayerRange{} : options.layers.front();
    return local_pipeline(alone, progress);
  }
  return open_remote_pipeline(options, progress);
}

void exit_process(int code) {
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace tandem::cluster
