#pragma once
// A model's identity.

#include <cstddef>
#include <filesystem>
#include <string>

#include "tandem/error.h"

namespace tandem::cluster {

/// Bytes read at the begin, the middle and the end of a tensor.
inline constexpr std::size_t kSampleBytes = 1024;
/// Tensors of which samples are read; in a model of more every n-th, so that a folder of a hundred
/// thousand experts is still known within a second.
inline constexpr std::size_t kSampledTensors = 4096;

/// SHA-256, hexadecimal, of what config.json means, of every tensor's name, type and shape, and of
/// samples of their bytes. Two hosts with the same hash compute the same, unless their weights
/// differ in bytes that were not sampled only: a single edited row of a table may go unseen,
/// another fine-tune or conversion does not. Fails where a folder is no model.
Result<std::string> model_hash(const std::filesystem::path& folder);

}  // namespace tandem::cluster
