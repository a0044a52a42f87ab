#pragma once
// What a page of each group of layers takes on each rank, and how much each rank has.

#include <cstdint>
#include <vector>

#include "tandem/pipeline.h"
#include "tandem/state_group.h"

namespace tandem::scheduler {

/// Pages, of each group of a KvShape.
using PageCounts = std::vector<std::uint64_t>;

PageCounts operator+(PageCounts a, const PageCounts& b);

/// Layers with the same window are one group on all ranks, which hold as many pages of it; a rank
/// without such layers has pages of no bytes. A block is a page of every group. A plain value.
struct KvShape {
  struct Rank {
    std::uint64_t bytes_max = 0;
    std::vector<std::uint64_t> page_bytes;  // of each group

    std::uint64_t bytes(const PageCounts& pages) const;
    std::uint64_t block_bytes() const;
  };
  std::vector<std::uint32_t> windows;  // of each group; 0: sees every token
  std::vector<Rank> ranks;

  /// Ranks that name no limit, or hold nothing, have no bound.
  static KvShape of(const std::vector<RankInfo>& ranks);

  bool fits(const PageCounts& pages) const;
  /// Blocks that every rank has room for beside `pages`.
  std::uint64_t blocks_beside(const PageCounts& pages) const;
  /// Blocks that weigh as much as `pages` on the rank where that is most.
  std::uint64_t in_blocks(const PageCounts& pages) const;
  /// Of all ranks together.
  std::uint64_t bytes(const PageCounts& pages) const;
  /// What a sequence of so many tokens holds at most while it grows page by page.
  PageCounts needed(std::uint64_t tokens) const;
  /// Tokens of the longest sequence that fits by itself.
  std::uint64_t length_max() const;
  /// Whether pages are let go behind a window, so that not every beginning can be used again.
  bool windowed() const;
  PageCounts none() const { return PageCounts(windows.size(), 0); }
  PageCounts blocks(std::uint64_t count) const { return PageCounts(windows.size(), count); }
};

}  // namespace tandem::scheduler
