#pragma once
// The gateway's pipeline over ranks in other processes.

#include <memory>

#include "cluster/gateway/launcher.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::cluster {

/// open_pipeline() for local workers or hosts, see launcher.h.
Result<std::unique_ptr<Pipeline>> open_remote_pipeline(const PipelineOptions& options,
                                                       const RankProgress& progress);

}  // namespace tandem::cluster
