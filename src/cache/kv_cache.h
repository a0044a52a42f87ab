#pragma once
// The KV of all sequences of a stage: pages, prefix sharing and an exact byte budget.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "cache/block_pool.h"
#include "kernels/attention.h"
#include "tandem/error.h"
#include "tandem/state_group.h"
#include "tandem/tick.h"

namespace tandem::cache {

/// Most sequences that a cache holds; those that share a prefix cost no bytes of their own.
inline constexpr std::size_t kMaxSequences = 16384;

/// Where the KV lies: in this cache's pages (Ops::keeps_pages()), or in MLX arrays that attention
/// replaces. Arrays keep every token, whatever the window, and are counted as if they lay in pages.
///
/// kElsewhere: in blocks that the caller keeps by number, one group of them: see blocks() and
/// take_copies().
enum class Storage { kPages, kArrays, kElsewhere };

/// Block `to` is new and begins as a copy of `from`.
struct BlockCopy {
  int from = 0;
  int to = 0;
};

/// The KV of one layer, and how many tokens its queries see (0: all).
struct LayerKv {
  kernels::KvSpec kv;
  int window = 0;
};

/// New tokens of one sequence: [position, position + count).
struct Append {
  std::uint64_t sequence = 0;
  std::uint32_t position = 0;
  std::uint32_t count = 0;  // at least 1
};

/// Owns the KV. Layers of one window are a group; a block is the pages of a group's layers for
/// kPageTokens positions. Sequences with a common prefix share its blocks, and one that writes into
/// a shared block gets a copy of it first. Blocks that no query will see are let go, by the rules
/// of state_group.h. One thread uses it.
class KvCache {
 public:
  /// bytes_max counts whole blocks: those in use and the idle memory that is kept. Between two
  /// apply() they never exceed it; one that frees and appends holds both for a moment.
  KvCache(const std::vector<LayerKv>& layers, std::uint64_t bytes_max, Storage storage);

  /// Lets go what only the tokens of the former tick could see: once a tick, before its apply().
  void begin_tick();

  /// Applies `ops` in order and makes room for `appends`: all of it, or nothing and an error. kFree
  /// of an unknown sequence is fine (a stage that never saw it). kRewind keeps `length` tokens of
  /// those there are. kFork makes a new sequence from at least one token of another. Neither
  /// reaches back beyond least_length(). An append begins where its sequence ends (0 for a new
  /// one); a sequence appears in one append. Errors: kInvalidArgument for a broken rule,
  /// kResourceLimit for the budget.
  Status apply(std::span<const StateOp> ops, std::span<const Append> appends);

  /// What attention reads and writes, layer by layer; stays at its place until apply() is called.
  /// Pages that were let go are null.
  std::span<kernels::KvSequence> layers(std::uint64_t sequence);
  /// Numbers of a sequence's blocks, of kPageTokens positions each (kElsewhere); stays at its place
  /// until apply() is called.
  std::span<const int> blocks(std::uint64_t sequence) const;
  /// What is to be copied before the tick is computed, in this order (kElsewhere). Forgets it.
  std::vector<BlockCopy> take_copies();
  /// Tokens of a sequence; nullopt when there is none of that name.
  std::optional<std::uint32_t> length(std::uint64_t sequence) const;
  std::size_t sequences() const { return sequences_.size(); }

  /// The groups, in the order of their first layers.
  std::vector<StateGroup> states() const;
  /// Of a block in every group.
  std::uint64_t block_bytes() const;
  /// In use. For tests.
  std::uint64_t bytes_in_use() const;
  /// In use, and kept for the next blocks.
  std::uint64_t bytes_held() const;
  std::uint64_t bytes_max() const { return bytes_max_; }

  /// Recounts every reference and address; an error is a bug. For tests.
  Status check_integrity() const;

 private:
  /// Stands where a block was let go.
  static constexpr int kNoBlock = std::numeric_limits<int>::min();
  struct Group {
    std::uint32_t window = 0;
    BlockPool pool;
  };
  /// Of a layer's page: in a block of that group.
  struct Place {
    std::size_t group = 0;
    std::size_t offset = 0;
  };
  struct Sequence {
    std::uint32_t length = 0;
    std::uint32_t floor = 0;               // see state_group.h
    std::vector<std::vector<int>> blocks;  // of a group, of positions [i * kPageTokens, ...)
    std::vector<kernels::KvSequence> layers;
  };
  class Transaction;

  std::uint32_t least_length(std::uint32_t floor) const;
  void place_pages(Sequence& sequence) const;
  void let_go(Sequence& sequence);
  void shed_spare(std::uint64_t more);
  Status check_sequence(std::uint64_t id, const Sequence& sequence) const;

  std::vector<Group> groups_;
  std::vector<Place> places_;  // of each layer
  std::uint64_t bytes_max_;
  Storage storage_;
  std::map<std::uint64_t, Sequence> sequences_;  // addresses of values do not change
  std::vector<std::uint64_t> grown_;             // in this tick
  std::vector<BlockCopy> copies_;                // kElsewhere
};

}  // namespace tandem::cache
