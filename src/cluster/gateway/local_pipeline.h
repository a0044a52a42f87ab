#pragma once
// The pipeline of one stage: no process, no socket, no thread.

#include <memory>

#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::cluster {

/// One stage in this process, no sockets. submit() computes nothing: next() does.
Result<std::unique_ptr<Pipeline>> local_pipeline(const stage::StageOptions& options,
                                                 const RankProgress& progress);

}  // namespace tandem::cluster
