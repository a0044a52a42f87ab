#pragma once
// The gateway's pipeline over ranks in other processes.

#include <memory>

#include "cluster/launcher.h"
#include "cluster/pipeline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// open_pipeline() for local workers or hosts, see launcher.h.
Result<std::unique_ptr<Pipeline>> open_remote_pipeline(const PipelineOptions& options,
                                                       const RankProgress& progress);

}  // namespace tandem::cluster
