#pragma once
// Which host or local rank holds which layers, and on which device: the planner's plan of what the
// workers say of themselves.

#include <string>

#include "cluster/gateway/launcher.h"
#include "cluster/gateway/ring_members.h"
#include "planner/planner.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// As many ranks and layers as there are, which the caller can know before any process starts.
/// Reads config.json.
Status check_split(const PipelineOptions& options);

/// The gateway's hosts as the planner sees them, in their order. CPUs that were not measured, and
/// all GPUs, count as usual ones. Workers of one machine's CPU share its memory: for throughput,
/// where they compute at the same time, each has its part; for latency they take turns. The way
/// between two hosts is taken for the worse of their ways from the gateway. Hosts must have been
/// described. Pure.
planner::Inventory inventory_of(const Members& members, planner::Objective objective);

/// What a plan assumes of CPUs: their products are measured with our kernels, not a maker's peak.
planner::Efficiency measured_efficiency();

/// bfloat16 where hosts have GPUs among them, unless options say: see PipelineOptions.
void choose_activations(const Members& members, PipelineOptions& options);

/// What is planned, with options.stage.activations chosen.
Result<planner::Work> planned_work(const PipelineOptions& options);

/// Fills in the members' layers: those that the options or the host file name, those of `standing`
/// where it is of the same hosts, else the plan's, without hosts that make it slower unless
/// options.all_hosts; members are left in the order of their layers. Local ranks share a machine
/// and hold even parts of what a token reads. Updates `standing` and may change
/// options.stage.activations. Returns what was decided and why, in a line. kResourceLimit, with
/// what is wanted and there: nothing fits. Reads names, shapes and types of the tensors only.
Result<std::string> place_layers(Members& members, PipelineOptions& options, Placement& standing);

}  // namespace tandem::cluster
