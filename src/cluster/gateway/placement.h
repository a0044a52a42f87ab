#pragma once
// Which rank computes what, and on which device.

#include "cluster/gateway/launcher.h"
#include "cluster/gateway/ring_members.h"
#include "cluster/split/partition.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// As many ranks and layers as there are, which the caller can know before any process starts.
Status check_split(const PipelineOptions& options, const ModelSizes& sizes, std::size_t ranks);

/// Fills in the members' layers: those that the options or the host file name, else an even split
/// of what a token reads, as far as every rank's memory has room for its part. Hosts must have been
/// described. May change options.stage.activations: see PipelineOptions. kResourceLimit, with what
/// is wanted and there: no split fits. Reads names, shapes and types of the tensors only.
Status place_layers(Members& members, PipelineOptions& options, const ModelSizes& sizes);

}  // namespace tandem::cluster
