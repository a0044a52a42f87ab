#pragma once
// The tensors of a model folder, whichever shards they lie in, mapped only when taken.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"
#include "weights/safetensors.h"

namespace tandem::weights {

/// Where the bytes of a tensor may begin. Many writers do not pad the header, so that a file's data
/// begins at any byte: then kDtype means a copy of every tensor, and kAny that readers load by
/// memcpy or unaligned instructions.
enum class Alignment { kDtype, kAny };

/// Read-only bytes of a tensor. `keep` holds the mapping. A file that
/// shrinks while a mapping of it is alive makes the next read of the lost pages end the process
/// (SIGBUS); take() finds every change of size, and every file put in a shard's place, before that,
/// so only a file that is cut while a model runs from it is left, as with any mapped program.
struct Tensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keep;
};

/// Opens the shards that model.safetensors.index.json names, or model.safetensors, or, without
/// both, every model*.safetensors; beside an index the other files fill gaps (see ShardList).
/// Headers of all shards are read and validated; data is mapped by take() only, so a rank's
/// resident memory is its own tensors. Names in the index are plain names of files of the folder,
/// which may be links to anywhere. Not thread-safe.
class WeightFolder {
 public:
  static Result<WeightFolder> open(const std::filesystem::path& folder,
                                   Alignment alignment = Alignment::kDtype);
  ~WeightFolder();
  WeightFolder(WeightFolder&&) noexcept;
  WeightFolder& operator=(WeightFolder&&) noexcept;

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
  struct Entry {
    TensorInfo info;
    std::size_t shard = 0;  // index in shards_
    bool used = false;
  };
  WeightFolder();
  Status add_shard(const std::string& file, const std::filesystem::path& path);
  Error wrong(std::string_view name, std::string_view rule) const;

  std::filesystem::path folder_;
  Alignment alignment_ = Alignment::kDtype;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace tandem::weights
