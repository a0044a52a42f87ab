#pragma once
// Which rank holds which layers.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tandem/error.h"
#include "tandem/stage_info.h"

namespace tandem::cluster {

/// What a model's parts weigh, bytes.
struct ModelSizes {
  std::vector<std::uint64_t> layers;  // never empty
  std::uint64_t embedding = 0;        // held by the first rank
  std::uint64_t head = 0;             // final norm and head, held by the last rank; a head tied to
                                      // the embedding weighs what the embedding does
  std::uint64_t kv_per_layer = 0;     // KV bytes wanted for each layer, 0 when not known
};

/// What one token reads of it: of the embedding a row, which is nothing. Ranks that read the same
/// take the same time, so none waits for another.
ModelSizes read_by_token(ModelSizes model);

/// Contiguous ranges in rank order, each of at least one layer and each layer in exactly one. A
/// range's load is its weight bytes (with embedding and head) and KV bytes divided by its rank's
/// share; the largest load is as small as it can be, the others are as even as then possible, and
/// of equal splits the one where earlier ranks hold more is taken. `shares`: one positive number a
/// rank, bytes of memory for instance; all equal splits evenly. Only ranges that `fits` says a rank
/// has room for are taken; null: all. kInvalidArgument: no ranks, or more ranks than layers (both
/// numbers named); kResourceLimit: no split fits. Pure if `fits` is.
using Fits = std::function<bool(std::size_t rank, LayerRange range)>;
Result<std::vector<LayerRange>> partition(const ModelSizes& model, std::span<const double> shares,
                                          const Fits& fits = nullptr);

/// Weight and KV bytes of a range, embedding and head included where they belong to it.
std::uint64_t range_bytes(const ModelSizes& model, LayerRange range);

}  // namespace tandem::cluster
