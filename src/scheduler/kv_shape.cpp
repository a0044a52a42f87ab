#include "scheduler/kv_shape.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

namespace tandem::scheduler {
namespace {

/// Where nothing bounds them; a token count of it does not overflow.
constexpr std::uint64_t kBlocksMax = std::numeric_limits<std::uint64_t>::max() / kPageTokens;

}  // namespace

PageCounts operator+(PageCounts a, const PageCounts& b) {
  for (std::size_t g = 0; g < a.size(); ++g) a[g] += b[g];
  return a;
}

std::uint64_t KvShape::Rank::bytes(const PageCounts& pages) const {
  return std::inner_product(pages.begin(), pages.end(), page_bytes.begin(), std::uint64_t{0});
}

std::uint64_t KvShape::block_bytes(const Rank& rank) const {
  std::uint64_t bytes = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    bytes += groups[g].recurrent() ? 0 : rank.page_bytes[g];
  }
  return bytes;
}

KvShape KvShape::of(const std::vector<RankInfo>& ranks) {
  KvShape shape;
  for (const RankInfo& rank : ranks) {
    for (const StateGroup& group : rank.stage.states) {
      if (std::ranges::find(shape.groups, group.rule()) == shape.groups.end()) {
        shape.groups.push_back(group.rule());
      }
    }
  }
  for (const RankInfo& rank : ranks) {
    if (rank.stage.states.empty()) continue;
    Rank& made = shape.ranks.emplace_back();
    const std::uint64_t most = rank.stage.kv_bytes_max;
    made.bytes_max = most == 0 ? std::numeric_limits<std::uint64_t>::max() : most;
    made.page_bytes.resize(shape.groups.size());
    for (const StateGroup& group : rank.stage.states) {
      const auto same = std::ranges::find(shape.groups, group.rule());
      made.page_bytes[static_cast<std::size_t>(same - shape.groups.begin())] += group.page_bytes;
    }
  }
  if (shape.groups.empty()) shape.groups.emplace_back();
  return shape;
}

bool KvShape::fits(const PageCounts& pages) const {
  return std::all_of(ranks.begin(), ranks.end(),
                     [&](const Rank& rank) { return rank.bytes(pages) <= rank.bytes_max; });
}

std::uint64_t KvShape::blocks_beside(const PageCounts& pages) const {
  std::uint64_t blocks = kBlocksMax;
  for (const Rank& rank : ranks) {
    const std::uint64_t block = block_bytes(rank);
    if (block == 0) continue;
    const std::uint64_t used = std::min(rank.bytes(pages), rank.bytes_max);
    blocks = std::min(blocks, (rank.bytes_max - used) / block);
  }
  return blocks;
}

std::uint64_t KvShape::in_blocks(const PageCounts& pages) const {
  if (ranks.empty()) return *std::max_element(pages.begin(), pages.end());
  std::uint64_t blocks = 0;
  for (const Rank& rank : ranks) {
    const std::uint64_t block = block_bytes(rank);
    if (block != 0) blocks = std::max(blocks, (rank.bytes(pages) + block - 1) / block);
  }
  return blocks;
}

std::uint64_t KvShape::bytes(const PageCounts& pages) const {
  std::uint64_t bytes = 0;
  for (const Rank& rank : ranks) bytes += rank.bytes(pages);
  return bytes;
}

PageCounts KvShape::needed(std::uint64_t tokens) const {
  PageCounts pages;
  for (const StateRule& group : groups) pages.push_back(group.pages_needed(tokens));
  return pages;
}

PageCounts KvShape::places(std::uint64_t tokens) const {
  PageCounts pages;
  for (const StateRule& group : groups) pages.push_back(group.places(tokens));
  return pages;
}

std::uint32_t KvShape::least_length(std::uint32_t length, std::uint32_t floor) const {
  std::uint32_t least = 0;
  for (const StateRule& group : groups) {
    least = std::max(least, group.least_length(length, floor));
  }
  return least;
}

std::uint64_t KvShape::length_max() const {
  if (ranks.empty()) return kBlocksMax * kPageTokens;
  std::uint64_t fits_blocks = 0;
  std::uint64_t more = std::numeric_limits<std::uint32_t>::max() / kPageTokens;  // of positions
  while (fits_blocks < more) {
    const std::uint64_t middle = fits_blocks + (more - fits_blocks + 1) / 2;
    if (fits(needed(middle * kPageTokens))) {
      fits_blocks = middle;
    } else {
      more = middle - 1;
    }
  }
  return fits_blocks * kPageTokens;
}

bool KvShape::forgets() const {
  return std::ranges::any_of(groups,
                             [](const StateRule& g) { return g.kind != StateKind::kPaged; });
}

bool KvShape::recurrent() const {
  return std::ranges::any_of(groups, [](const StateRule& group) { return group.recurrent(); });
}

}  // namespace tandem::scheduler
