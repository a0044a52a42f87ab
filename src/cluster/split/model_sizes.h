#pragma once
// What the parts of a model folder weigh, read from headers alone.

#include <cstddef>
#include <filesystem>
#include <string>

#include "cluster/split/partition.h"
#include "tandem/error.h"

namespace tandem::cluster {

struct ModelSummary {
  ModelSizes sizes;
  /// The model's identity: SHA-256, hexadecimal, of what config.json means, of every tensor's name,
  /// type and shape, and of samples of their bytes. Two hosts with the same hash compute the same,
  /// unless their weights differ in bytes that were not sampled only: a single edited row of a
  /// table may go unseen, another fine-tune or conversion does not.
  std::string hash;
};

/// Bytes read at the begin, the middle and the end of a tensor for the identity.
inline constexpr std::size_t kSampleBytes = 1024;
/// Tensors of which samples are read; in a model of more every n-th, so that a folder of a hundred
/// thousand experts is still known within a second.
inline constexpr std::size_t kSampledTensors = 4096;

/// Reads config.json, the headers of the weight files and samples of their data. Layers are told by
/// the "layers.<n>." in a tensor's name, the embedding by "embed_tokens"; everything else outside
/// layers counts to the head, and so does the embedding again in a model without "lm_head" (tied).
Result<ModelSummary> summarize_model(const std::filesystem::path& folder);

}  // namespace tandem::cluster
