#pragma once
// Which files of a model folder hold its tensors.

#include <filesystem>
#include <map>
#include <string>

#include "tandem/error.h"

namespace tandem::weights {

/// The safetensors files of a folder: name -> path.
struct ShardList {
  /// Whose tensors are all of the model: those that the index names, if they are all there; else
  /// model.safetensors; else every model*.safetensors; else every weights*.safetensors (early
  /// mlx-lm).
  std::map<std::string, std::filesystem::path> files;
  /// The other model*.safetensors. What they add fills gaps: an index goes stale, and mlx-lm reads
  /// every such file.
  std::map<std::string, std::filesystem::path> others;
};

/// Reads the folder and its index; opens no shard. An index may only name files of the folder; what
/// the owner linked there from elsewhere is the owner's choice.
Result<ShardList> list_shards(const std::filesystem::path& folder);

}  // namespace tandem::weights
