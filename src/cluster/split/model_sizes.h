#pragma once
// What the parts of a model folder weigh, read from headers alone.

#include <filesystem>
#include <string>

#include "cluster/split/partition.h"
#include "tandem/error.h"

namespace tandem::cluster {

struct ModelSummary {
  ModelSizes sizes;
  /// SHA-256 of config.json and of every tensor's name, type and shape, hexadecimal: two hosts with
  /// the same hash hold the same architecture and quantization.
  std::string hash;
};

/// Reads config.json and the headers of the weight files; maps no data. Layers are told by the
/// "layers.<n>." in a tensor's name, the embedding by "embed_tokens"; everything else outside
/// layers counts to the head, and so does the embedding again in a model without "lm_head" (tied).
Result<ModelSummary> summarize_model(const std::filesystem::path& folder);

}  // namespace tandem::cluster
