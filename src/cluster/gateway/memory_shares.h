#pragma once
// How ranks of one machine share its memory.

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/gateway/ring_members.h"
#include "models/model_bytes.h"
#include "stage/stage.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// A part of `memory` for each rank of `ranges`: what it cannot do without, and of the rest as much
/// as it holds of the layers, so that all have room for KV of the same length. kResourceLimit, with
/// the bytes wanted and there, when it is not enough for all. Pure.
Result<std::vector<std::uint64_t>> memory_shares(const models::ModelBytes& model,
                                                 std::span<const LayerRange> ranges,
                                                 std::uint64_t memory, std::uint32_t rows);

/// Fills in the members' shares of this machine's memory, or of its GPU's for those that compute
/// there, as it is when they hold no weights.
Status share_memory(Members& members, const stage::StageOptions& options);

}  // namespace tandem::cluster
