#pragma once
// What workers that run already have, for a plan: nothing is loaded.

#include <string>
#include <vector>

#include "cluster/gateway/launcher.h"
#include "planner/planner.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// Machines and the ways to them, as a pipeline over these hosts would be planned with.
struct Survey {
  planner::Inventory inventory;  // in the hosts' order
  planner::Model model;          // as the hosts would compute it
  planner::Efficiency efficiency;
  std::vector<bool> measured;  // of each host: else its speed is a usual one
};

/// Asks options.hosts, of which there is one at least and planner::kMachinesMax at most, and
/// measures the ways to them. Errors as Launcher::open()'s until layers are placed.
Result<Survey> survey_hosts(const PipelineOptions& options);

}  // namespace tandem::cluster
