#pragma once
// What a page of each group of layers takes on each rank, and how much each rank has.

#include <cstdint>
#include <vector>

#include "tandem/pipeline.h"
#include "tandem/state_group.h"

namespace tandem::scheduler {

/// Pages, or slots of a recurrent one, of each group of a KvShape.
using PageCounts = std::vector<std::uint64_t>;

PageCounts operator+(PageCounts a, const PageCounts& b);

/// Layers with the same rule are one group on all ranks, which hold as many pages of it; a rank
/// without such layers has pages of no bytes. A block is a page of every group that has one for
/// each kPageTokens tokens. A plain value.
struct KvShape {
  struct Rank {
    std::uint64_t bytes_max = 0;
    std::vector<std::uint64_t> page_bytes;  // of each group

    std::uint64_t bytes(const PageCounts& pages) const;
  };
  std::vector<StateRule> groups;
  std::vector<Rank> ranks;

  /// Ranks that name no limit, or hold nothing, have no bound.
  static KvShape of(const std::vector<RankInfo>& ranks);

  bool fits(const PageCounts& pages) const;
  /// Blocks that every rank has room for beside `pages`.
  std::uint64_t blocks_beside(const PageCounts& pages) const;
  /// Blocks that weigh as much as `pages` on the rank where that is most, of those with blocks.
  std::uint64_t in_blocks(const PageCounts& pages) const;
  /// Of all ranks together.
  std::uint64_t bytes(const PageCounts& pages) const;
  /// What a sequence of so many tokens holds at most while it grows page by page.
  PageCounts needed(std::uint64_t tokens) const;
  /// Tokens of the longest sequence that fits by itself.
  std::uint64_t length_max() const;
  /// Whether something is let go, so that not every beginning can be used again.
  bool forgets() const;
  /// Whether a sequence has slots, so that it can go on where it stands only.
  bool recurrent() const;
  /// The least length that a sequence of this length and floor can be rewound to.
  std::uint32_t least_length(std::uint32_t length, std::uint32_t floor) const;
  PageCounts none() const { return PageCounts(groups.size(), 0); }
  /// Of a sequence of so many tokens that holds all of its pages.
  PageCounts places(std::uint64_t tokens) const;

 private:
  std::uint64_t block_bytes(const Rank& rank) const;
};

}  // namespace tandem::scheduler
