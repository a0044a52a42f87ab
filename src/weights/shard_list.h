#pragma once
// Which files of a model folder hold its tensors.

#include <filesystem>
#include <map>
#include <string>

#include "tandem/error.h"

namespace tandem::weights {

/// The shards of a folder.
struct ShardList {
  std::map<std::string, std::filesystem::path> files;  // name in the folder -> real path
  std::map<std::string, std::string> index;            // tensor -> shard; empty without an index
};

/// Reads the folder and its index; opens no shard. Every returned path passed the rules of
/// WeightFolder about names and symlinks.
Result<ShardList> list_shards(const std::filesystem::path& folder);

}  // namespace tandem::weights
