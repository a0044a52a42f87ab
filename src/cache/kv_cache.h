#pragma once
// The KV of all sequences of a stage: pages, prefix sharing and an exact byte budget.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "cache/block_pool.h"
#include "kernels/attention.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::cache {

/// Most sequences that a cache holds; those that share a prefix cost no bytes of their own.
inline constexpr std::size_t kMaxSequences = 16384;

/// Where the KV lies: in this cache's pages (Backend::kCpu), or in MLX arrays that attention
/// replaces (Backend::kMlx); those are counted as if they lay in pages.
enum class Storage { kPages, kArrays };

/// New tokens of one sequence: [position, position + count).
struct Append {
  std::uint64_t sequence = 0;
  std::uint32_t position = 0;
  std::uint32_t count = 0;  // at least 1
};

/// Owns the KV. A block is the pages of all layers for kPageTokens positions; sequences with a
/// common prefix share its blocks, and one that writes into a shared block gets a copy of it first.
/// One thread uses it.
class KvCache {
 public:
  /// bytes_max counts whole blocks: those in use and the idle memory that is kept. Between two
  /// apply() they never exceed it; one that frees and appends holds both for a moment.
  KvCache(const std::vector<kernels::KvSpec>& layers, std::uint64_t bytes_max, Storage storage);

  /// Applies `ops` in order and makes room for `appends`: all of it, or nothing and an error.
  /// kFree of an unknown sequence is fine (a stage that never saw it). kRewind keeps `length`
  /// tokens of those there are. kFork makes a new sequence from at least one token of
  /// another. An append begins where its sequence ends (0 for a new one); a sequence appears in one
  /// append. Errors: kInvalidArgument for a broken rule, kResourceLimit for the budget.
  Status apply(std::span<const StateOp> ops, std::span<const Append> appends);

  /// What attention reads and writes, layer by layer; stays at its place until apply() is called.
  std::span<kernels::KvSequence> layers(std::uint64_t sequence);
  /// Tokens of a sequence; nullopt when there is none of that name.
  std::optional<std::uint32_t> length(std::uint64_t sequence) const;
  std::size_t sequences() const { return sequences_.size(); }

  std::uint64_t block_bytes() const { return pool_.block_bytes(); }
  /// Rounded up.
  std::uint64_t bytes_per_token() const;
  std::uint64_t bytes_in_use() const { return pool_.live() * pool_.block_bytes(); }
  /// In use, and kept for the next blocks.
  std::uint64_t bytes_held() const { return pool_.held() * pool_.block_bytes(); }
  std::uint64_t bytes_max() const { return bytes_max_; }

  /// Recounts every reference and address; an error is a bug. For tests.
  Status check_integrity() const;

 private:
  struct Sequence {
    std::uint32_t length = 0;
    std::vector<int> blocks;  // of positions [i * kPageTokens, ...)
    std::vector<kernels::KvSequence> layers;
  };
  class Transaction;

  void place_pages(Sequence& sequence, std::size_t first_block) const;

  std::vector<std::size_t> offsets_;  // of a layer's page in a block
  std::uint64_t bytes_max_;
  Storage storage_;
  BlockPool pool_;
  std::map<std::uint64_t, Sequence> sequences_;  // addresses of values do not change
};

}  // namespace tandem::cache
