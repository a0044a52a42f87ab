#pragma once
// The gateway's pipeline over ranks in other processes.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/gateway/launcher.h"
#include "config/hosts.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::cluster {

/// What a Quarantine knows a rank by; no hosts: a local one.
std::string place_of(int rank, const std::vector<config::Host>& hosts);

/// Takes lines for people; may be null.
using Note = std::function<void(const std::string& line)>;

/// Launcher::open() for local workers or hosts, see launcher.h. `standing` outlives the pipeline,
/// which notes there who died; what the workers hold after it is for the gateway's next one.
Result<std::unique_ptr<Pipeline>> open_remote_pipeline(const PipelineOptions& options,
                                                       const GatewayName& gateway,
                                                       Standing& standing, const Note& note,
                                                       const RankProgress& progress);

}  // namespace tandem::cluster
