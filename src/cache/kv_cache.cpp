#include "cache/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "cache/transaction.h"

namespace tandem::cache {
namespace {

std::size_t sum_of_pages(const std::vector<kernels::KvSpec>& layers) {
  std::size_t bytes = 0;
  for (const kernels::KvSpec& spec : layers) bytes += kernels::kv_page_bytes(spec);
  return bytes;
}

}  // namespace

KvCache::KvCache(const std::vector<kernels::KvSpec>& layers, std::uint64_t bytes_max,
                 Storage storage)
    : bytes_max_(bytes_max),
      storage_(storage),
      pool_(sum_of_pages(layers), storage == Storage::kPages,
            static_cast<std::size_t>(bytes_max / std::max<std::size_t>(1, sum_of_pages(layers)))) {
  std::size_t offset = 0;
  for (const kernels::KvSpec& spec : layers) {
    offsets_.push_back(offset);
    offset += kernels::kv_page_bytes(spec);
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
  return transaction.commit();
}

std::span<kernels::KvSequence> KvCache::layers(std::uint64_t sequence) {
  const auto it = sequences_.find(sequence);
  check(it != sequences_.end(), "layers() is asked of sequences that apply() accepted");
  return it->second.layers;
}

std::optional<std::uint32_t> KvCache::length(std::uint64_t sequence) const {
  const auto it = sequences_.find(sequence);
  return it == sequences_.end() ? std::nullopt : std::optional(it->second.length);
}

std::uint64_t KvCache::bytes_per_token() const {
  return (pool_.block_bytes() + kPageTokens - 1) / kPageTokens;
}

void KvCache::place_pages(Sequence& sequence, std::size_t first_block) const {
  if (storage_ == Storage::kArrays) return;
  for (std::size_t i = 0; i < sequence.layers.size(); ++i) {
    auto& pages = sequence.layers[i].pages;
    pages.resize(sequence.blocks.size());
    for (std::size_t block = first_block; block < pages.size(); ++block) {
      pages[block] = pool_.data(sequence.blocks[block]) + offsets_[i];
    }
  }
}

Status KvCache::check_integrity() const {
  const auto wrong = [](std::string what) {
    return Status(Error{ErrorCode::kInternal, std::move(what)});
  };
  std::map<int, int> counts;
  for (const auto& [id, sequence] : sequences_) {
    const std::size_t needed = (std::size_t{sequence.length} + kPageTokens - 1) / kPageTokens;
    if (sequence.blocks.size() != needed) return wrong(fmt::format("blocks of sequence {}", id));
    if (sequence.layers.size() != offsets_.size()) return wrong("layers of a sequence");
    for (const int block : sequence.blocks) ++counts[block];
    for (std::size_t i = 0; storage_ == Storage::kPages && i < offsets_.size(); ++i) {
      const auto& pages = sequence.layers[i].pages;
      if (pages.size() != needed) return wrong(fmt::format("pages of sequence {}", id));
      for (std::size_t b = 0; b < needed; ++b) {
        if (pages[b] != pool_.data(sequence.blocks[b]) + offsets_[i]) {
          return wrong(fmt::format("address of page {} of sequence {}", b, id));
        }
      }
    }
  }
  if (counts.size() != pool_.live()) {
    return wrong(fmt::format("{} blocks live, {} in use", pool_.live(), counts.size()));
  }
  for (const auto& [block, count] : counts) {
    if (pool_.references(block) != count) {
      return wrong(
          fmt::format("block {}: {} references, {} uses", block, pool_.references(block), count));
    }
  }
  if (bytes_held() > bytes_max_) return wrong("over the limit");
  return {};
}

}  // namespace tandem::cache
