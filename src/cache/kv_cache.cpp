#include "cache/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <variant>

#include "base/check.h"
#include "cache/transaction.h"

namespace tandem::cache {
namespace {

StateRule rule_of(const LayerKv& layer, Storage storage) {
  if (std::holds_alternative<kernels::StateSpec>(layer.kept)) return {StateKind::kRecurrent, 0};
  if (storage != Storage::kPages || layer.window <= 0) return {};
  return {StateKind::kWindowed, static_cast<std::uint32_t>(layer.window)};
}

}  // namespace

KvCache::KvCache(const std::vector<LayerKv>& layers, std::uint64_t bytes_max, Storage storage)
    : bytes_max_(bytes_max), storage_(storage) {
  struct Size {
    StateRule rule;
    std::size_t bytes;
  };
  std::vector<Size> sizes;
  for (const LayerKv& layer : layers) {
    const StateRule rule = rule_of(layer, storage);
    const auto same = std::find_if(sizes.begin(), sizes.end(),
                                   [&](const Size& each) { return each.rule == rule; });
    const auto group = static_cast<std::size_t>(same - sizes.begin());
    if (same == sizes.end()) sizes.push_back({rule, 0});
    places_.push_back({group, sizes[group].bytes});
    sizes[group].bytes += kernels::page_bytes(layer.kept);
  }
  for (const Size& size : sizes) {
    groups_.push_back({size.rule, BlockPool(size.bytes, storage == Storage::kPages)});
  }
}

void KvCache::begin_tick() {
  for (const std::uint64_t id : std::exchange(grown_, {})) {
    if (const auto it = sequences_.find(id); it != sequences_.end()) let_go(it->second);
  }
}

Status KvCache::apply(std::span<const StateOp> ops, std::span<const Append> appends) {
  Transaction transaction(*this);
  for (const StateOp& op : ops) {
    if (Status status = transaction.apply(op); !status.ok()) return status;
  }
  for (const Append& append : appends) {
    if (Status status = transaction.append(append); !status.ok()) return status;
  }
  if (Status status = transaction.check_limits(); !status.ok()) return status;
  if (Status status = transaction.commit(); !status.ok()) return status;
  for (const Append& append : appends) grown_.push_back(append.sequence);
  return {};
}

std::span<kernels::KvSequence> KvCache::layers(std::uint64_t sequence) {
  const auto it = sequences_.find(sequence);
  check(it != sequences_.end(), "layers() is asked of sequences that apply() accepted");
  return it->second.layers;
}

std::span<const int> KvCache::blocks(std::uint64_t sequence) const {
  const auto it = sequences_.find(sequence);
  check(storage_ == Storage::kElsewhere && it != sequences_.end(),
        "blocks() is asked of sequences that apply() accepted");
  return it->second.blocks.front();
}

std::vector<BlockCopy> KvCache::take_copies() { return std::exchange(copies_, {}); }

std::optional<std::uint32_t> KvCache::length(std::uint64_t sequence) const {
  const auto it = sequences_.find(sequence);
  return it == sequences_.end() ? std::nullopt : std::optional(it->second.length);
}

std::vector<StateGroup> KvCache::states() const {
  std::vector<StateGroup> states;
  for (const Group& group : groups_) {
    states.push_back({group.rule.kind, group.rule.window, group.pool.block_bytes()});
  }
  return states;
}

std::uint64_t KvCache::block_bytes() const {
  std::uint64_t bytes = 0;
  for (const Group& group : groups_) {
    bytes += group.rule.recurrent() ? 0 : group.pool.block_bytes();
  }
  return bytes;
}

std::uint64_t KvCache::bytes_in_use() const {
  std::uint64_t bytes = 0;
  for (const Group& group : groups_) bytes += group.pool.live() * group.pool.block_bytes();
  return bytes;
}

std::uint64_t KvCache::bytes_held() const {
  std::uint64_t bytes = 0;
  for (const Group& group : groups_) bytes += group.pool.held() * group.pool.block_bytes();
  return bytes;
}

std::uint32_t KvCache::least_length(std::uint32_t length, std::uint32_t floor) const {
  std::uint32_t least = 0;
  for (const Group& group : groups_) {
    least = std::max(least, group.rule.least_length(length, floor));
  }
  return least;
}

void KvCache::place_pages(Sequence& sequence) const {
  if (storage_ != Storage::kPages) return;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Place& place = places_[i];
    const auto& blocks = sequence.blocks[place.group];
    auto& pages = sequence.layers[i].pages;
    pages.resize(blocks.size());
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      pages[b] = blocks[b] == kNoBlock ? nullptr
                                       : groups_[place.group].pool.data(blocks[b]) + place.offset;
    }
  }
}

/// Raises a sequence's floor to where its length allows.
void KvCache::let_go(Sequence& sequence) {
  sequence.floor = std::max(sequence.floor, floor_of(sequence.length));
  bool changed = false;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    auto& blocks = sequence.blocks[g];
    for (std::size_t b = first_page(groups_[g].rule.window, sequence.floor);
         b-- > 0 && blocks[b] != kNoBlock;) {
      groups_[g].pool.release(std::exchange(blocks[b], kNoBlock));
      changed = true;
    }
  }
  if (changed) place_pages(sequence);
}

/// Gives idle memory back, as far as it does not fit beside what is in use and `more` bytes.
void KvCache::shed_spare(std::uint64_t more) {
  for (Group& group : groups_) {
    while (bytes_held() + more > bytes_max_ && group.pool.drop_spare()) continue;
  }
}

Status KvCache::check_sequence(std::uint64_t id, const Sequence& sequence) const {
  const auto wrong = [&](const char* what) {
    return Status(Error{ErrorCode::kInternal, fmt::format("{} of sequence {}", what, id)});
  };
  if (sequence.layers.size() != places_.size()) return wrong("layers");
  if (sequence.blocks.size() != groups_.size()) return wrong("groups");
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const auto& blocks = sequence.blocks[g];
    const std::size_t needed = groups_[g].rule.places(sequence.length);
    if (blocks.size() != needed) return wrong("blocks");
    const std::size_t first = first_page(groups_[g].rule.window, sequence.floor);
    for (std::size_t b = 0; b < needed; ++b) {
      if ((blocks[b] == kNoBlock) != (b < first)) return wrong("window");
    }
  }
  for (std::size_t i = 0; storage_ == Storage::kPages && i < places_.size(); ++i) {
    const auto& pages = sequence.layers[i].pages;
    const auto& blocks = sequence.blocks[places_[i].group];
    const BlockPool& pool = groups_[places_[i].group].pool;
    if (pages.size() != blocks.size()) return wrong("pages");
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const std::byte* place =
          blocks[b] == kNoBlock ? nullptr : pool.data(blocks[b]) + places_[i].offset;
      if (pages[b] != place) return wrong("address of a page");
    }
  }
  return {};
}

Status KvCache::check_integrity() const {
  const auto wrong = [](std::string what) {
    return Status(Error{ErrorCode::kInternal, std::move(what)});
  };
  std::vector<std::map<int, int>> counts(groups_.size());
  for (const auto& [id, sequence] : sequences_) {
    if (Status status = check_sequence(id, sequence); !status.ok()) return status;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      for (const int block : sequence.blocks[g]) {
        if (block != kNoBlock) ++counts[g][block];
      }
    }
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const BlockPool& pool = groups_[g].pool;
    if (counts[g].size() != pool.live()) {
      return wrong(fmt::format("{} blocks live, {} in use", pool.live(), counts[g].size()));
    }
    for (const auto& [block, count] : counts[g]) {
      if (pool.references(block) != count) {
        return wrong(
            fmt::format("block {}: {} references, {} uses", block, pool.references(block), count));
      }
    }
  }
  if (bytes_held() > bytes_max_) return wrong("over the limit");
  return {};
}

}  // namespace tandem::cache
