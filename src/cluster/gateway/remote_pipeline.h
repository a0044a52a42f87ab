#pragma once
// The gateway's pipeline over ranks in other processes.

#include <memory>

#include "cluster/gateway/launcher.h"
#include "cluster/gateway/local_worker.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::cluster {

/// Launcher::open() for local workers or hosts, see launcher.h. `local` outlives the pipeline; what
/// the workers hold after it is for the gateway's next one.
Result<std::unique_ptr<Pipeline>> open_remote_pipeline(const PipelineOptions& options,
                                                       const GatewayName& gateway,
                                                       LocalWorkers& local,
                                                       const RankProgress& progress);

}  // namespace tandem::cluster
