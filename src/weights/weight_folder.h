#pragma once
// The tensors of a model folder, whichever shards they lie in, mapped only when taken.

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"
#include "weights/safetensors.h"

namespace tandem::weights {

/// Read-only bytes of a tensor. `keep` holds the mapping.
struct Tensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keep;
};

/// Opens model.safetensors, or the shards that model.safetensors.index.json names (or, without an
/// index, every model*.safetensors). Headers of all shards are read and validated; data is mapped by take() only,
/// so a rank's resident memory is its own tensors. Not thread-safe.
class WeightFolder {
 public:
  static Result<WeightFolder> open(const std::filesystem::path& folder);

  bool has(std::string_view name) const;
  const TensorInfo* find(std::string_view name) const;
  /// All names, sorted.
  std::vector<std::string> names() const;
  /// Bytes of all tensors.
  std::uint64_t total_bytes() const;

  /// Maps a tensor and marks it used. Fails when it is missing.
  Result<Tensor> take(std::string_view name);
  /// The same, and fails with expected and actual shape when `shape` differs (-1: any).
  Result<Tensor> take(std::string_view name, std::span<const std::int64_t> shape);
  /// Marks a tensor as known and not wanted (rotary tables and the like).
  void skip(std::string_view name);
  /// Names neither taken nor skipped, sorted.
  std::vector<std::string> unused() const;

 private:
  struct Shard;
  struct Entry;
  std::vector<std::shared_ptr<Shard>> shards_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace tandem::weights
