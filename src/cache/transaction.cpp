#include "cache/transaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace tandem::cache {

KvCache::Transaction::Draft* KvCache::Transaction::find(std::uint64_t sequence) {
  if (const auto it = drafts_.find(sequence); it != drafts_.end()) {
    return it->second.gone ? nullptr : &it->second;
  }
  const auto it = cache_.sequences_.find(sequence);
  if (it == cache_.sequences_.end()) return nullptr;
  Draft draft;
  draft.length = it->second.length;
  draft.floor = it->second.floor;
  draft.blocks = it->second.blocks;
  draft.origin = sequence;
  return &drafts_.emplace(sequence, std::move(draft)).first->second;
}

int KvCache::Transaction::references(std::size_t group, int block) const {
  const auto it = deltas_[group].find(block);
  return cache_.groups_[group].pool.references(block) +
         (it == deltas_[group].end() ? 0 : it->second);
}

/// All blocks but those of the first `length` tokens.
void KvCache::Transaction::drop_blocks(Draft& draft, std::uint32_t length) {
  for (std::size_t g = 0; g < draft.blocks.size(); ++g) {
    auto& blocks = draft.blocks[g];
    const std::size_t keep = cache_.groups_[g].rule.places(length);
    for (std::size_t i = keep; i < blocks.size(); ++i) {
      if (blocks[i] != kNoBlock) --deltas_[g][blocks[i]];
    }
    blocks.resize(std::min(keep, blocks.size()));
  }
}

Status KvCache::Transaction::apply(const StateOp& op) {
  switch (op.kind) {
    case StateOp::Kind::kFree:
      if (Draft* draft = find(op.sequence)) {
        drop_blocks(*draft, 0);
        *draft = Draft{};
        draft->gone = true;
      }
      return {};
    case StateOp::Kind::kRewind:
      return rewind(op);
    case StateOp::Kind::kFork:
      return fork(op);
  }
  return invalid(fmt::format("state op of sequence {}: unknown kind", op.sequence));
}

Status KvCache::Transaction::check_length(const char* what, std::uint64_t id, const Draft& draft,
                                          std::uint32_t length) const {
  const std::uint32_t least = cache_.least_length(draft.length, draft.floor);
  if (length >= least && length <= draft.length) return {};
  return invalid(
      fmt::format("{}: sequence {} has {} tokens and keeps what lengths from {} on need, "
                  "asked for {}",
                  what, id, draft.length, least, length));
}

Status KvCache::Transaction::rewind(const StateOp& op) {
  Draft* draft = find(op.sequence);
  if (draft == nullptr) return invalid(fmt::format("rewind: unknown sequence {}", op.sequence));
  if (Status status = check_length("rewind", op.sequence, *draft, op.length); !status.ok()) {
    return status;
  }
  draft->length = op.length;
  drop_blocks(*draft, op.length);
  return {};
}

Status KvCache::Transaction::fork(const StateOp& op) {
  if (find(op.sequence) != nullptr) {
    return invalid(fmt::format("fork: sequence {} exists already", op.sequence));
  }
  const Draft* source = find(op.source);
  if (source == nullptr) {
    return invalid(fmt::format("fork: unknown source sequence {}", op.source));
  }
  if (op.length < 1) return invalid("fork: at least one token");
  if (Status status = check_length("fork", op.source, *source, op.length); !status.ok()) {
    return status;
  }
  Draft draft;
  draft.length = op.length;
  draft.floor = std::max(source->floor, floor_of(op.length));
  draft.origin = source->origin;
  for (std::size_t g = 0; g < source->blocks.size(); ++g) {
    const StateRule& rule = cache_.groups_[g].rule;
    const std::size_t first = first_page(rule.window, draft.floor);
    auto& blocks = draft.blocks.emplace_back(rule.places(op.length), kNoBlock);
    for (std::size_t i = first; i < blocks.size(); ++i) {
      blocks[i] = source->blocks[g][i];
      ++deltas_[g][blocks[i]];
    }
  }
  drafts_.insert_or_assign(op.sequence, std::move(draft));
  return {};
}

Status KvCache::Transaction::append(const Append& append) {
  Draft* draft = find(append.sequence);
  if (draft == nullptr && append.position == 0) {
    draft = &drafts_.insert_or_assign(append.sequence, Draft{}).first->second;
    draft->blocks.resize(cache_.groups_.size());
  }
  if (draft == nullptr) {
    return invalid(fmt::format("sequence {} is unknown, its tokens begin at position {}",
                               append.sequence, append.position));
  }
  if (draft->appended) {
    return invalid(fmt::format("sequence {} appears twice in a tick", append.sequence));
  }
  if (append.count == 0) {
    return invalid(fmt::format("sequence {} has no new tokens", append.sequence));
  }
  if (append.position != draft->length) {
    return invalid(fmt::format("sequence {} has {} tokens, its new ones begin at position {}",
                               append.sequence, draft->length, append.position));
  }
  if (append.count > std::numeric_limits<std::uint32_t>::max() - draft->length) {
    return invalid(fmt::format("sequence {} is too long", append.sequence));
  }
  // Refused here, so that no absurd count makes the drafts grow.
  const std::uint64_t page = std::max<std::uint64_t>(cache_.block_bytes(), 1);
  if (append.count / kPageTokens > cache_.bytes_max_ / page) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("KV memory: {} tokens of sequence {} do not fit {} bytes",
                             append.count, append.sequence, cache_.bytes_max_)};
  }
  draft->appended = true;
  extend(*draft, append.count);
  return {};
}

int KvCache::Transaction::add_block(std::size_t group, std::optional<int> copy_of) {
  new_blocks_.push_back({group, copy_of, -1});
  return -static_cast<int>(new_blocks_.size());
}

void KvCache::Transaction::extend(Draft& draft, std::uint32_t count) {
  const std::uint32_t before = draft.length;
  draft.length += count;
  for (std::size_t g = 0; g < draft.blocks.size(); ++g) {
    const StateRule& rule = cache_.groups_[g].rule;
    auto& blocks = draft.blocks[g];
    const bool written = rule.writes_last(before);
    if (written && references(g, blocks.back()) > 1) {  // others read it: write into a copy
      --deltas_[g][blocks.back()];
      blocks.back() = add_block(g, blocks.back());
    }
    while (blocks.size() < rule.places(draft.length)) blocks.push_back(add_block(g, std::nullopt));
  }
}

std::uint64_t KvCache::Transaction::bytes() const {
  std::vector<std::int64_t> blocks;
  for (const Group& group : cache_.groups_) {
    blocks.push_back(static_cast<std::int64_t>(group.pool.live()));
  }
  for (const NewBlock& block : new_blocks_) ++blocks[block.group];
  std::uint64_t bytes = 0;
  for (std::size_t g = 0; g < blocks.size(); ++g) {
    const BlockPool& pool = cache_.groups_[g].pool;
    for (const auto& [block, delta] : deltas_[g]) {
      if (pool.references(block) + delta == 0) --blocks[g];
    }
    // 128 bits are not needed: both factors are far below 2^32 wherever memory is finite.
    bytes += static_cast<std::uint64_t>(blocks[g]) * pool.block_bytes();
  }
  return bytes;
}

Status KvCache::Transaction::check_limits() const {
  const std::uint64_t bytes = this->bytes();
  if (bytes > cache_.bytes_max_) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("KV memory: the tick needs {} bytes in all, the limit is {}", bytes,
                             cache_.bytes_max_)};
  }
  std::size_t sequences = cache_.sequences_.size();
  for (const auto& [id, draft] : drafts_) {
    const bool was = cache_.sequences_.contains(id);
    if (was && draft.gone) --sequences;
    if (!was && !draft.gone) ++sequences;
  }
  if (sequences > kMaxSequences) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("KV: more than {} sequences", kMaxSequences)};
  }
  return {};
}

bool KvCache::Transaction::allocate() {
  std::vector<BlockCopy> copies;
  for (NewBlock& block : new_blocks_) {
    BlockPool& pool = cache_.groups_[block.group].pool;
    // Another group's idle memory gives way first.
    if (pool.spare() == 0) cache_.shed_spare(pool.block_bytes());
    const auto number = pool.allocate(block.copy_of);
    if (!number) {
      for (const NewBlock& made : new_blocks_) {
        if (made.number >= 0) cache_.groups_[made.group].pool.release(made.number);
      }
      return false;
    }
    block.number = *number;
    if (block.copy_of && cache_.storage_ == Storage::kElsewhere) {
      copies.push_back({*block.copy_of, *number});
    }
  }
  cache_.copies_.insert(cache_.copies_.end(), copies.begin(), copies.end());
  return true;
}

Status KvCache::Transaction::commit() {
  if (!allocate()) {
    cache_.shed_spare(0);
    return Error{ErrorCode::kResourceLimit, "KV memory: the system has no more"};
  }
  for (std::size_t g = 0; g < deltas_.size(); ++g) {
    BlockPool& pool = cache_.groups_[g].pool;
    for (const auto& [block, delta] : deltas_[g]) {
      for (int i = 0; i < delta; ++i) pool.add_reference(block);
      for (int i = 0; i > delta; --i) pool.release(block);
    }
  }
  cache_.shed_spare(0);
  // Arrays are taken from their origins before any of those changes.
  std::map<std::uint64_t, Sequence> copied;
  for (const auto& [id, draft] : drafts_) {
    if (draft.gone || !draft.origin || *draft.origin == id) continue;
    Sequence sequence;
    sequence.layers = cache_.sequences_.at(*draft.origin).layers;
    for (kernels::KvSequence& layer : sequence.layers) layer.pages.clear();
    copied.emplace(id, std::move(sequence));
  }
  for (auto& [id, draft] : drafts_) {
    const auto it = copied.find(id);
    settle(id, draft,
           it == copied.end() ? std::nullopt : std::optional<Sequence>(std::move(it->second)));
  }
  return {};
}

void KvCache::Transaction::settle(std::uint64_t id, Draft& draft, std::optional<Sequence> copied) {
  if (draft.gone) {
    cache_.sequences_.erase(id);
    return;
  }
  for (auto& blocks : draft.blocks) {
    for (int& block : blocks) {
      if (block < 0 && block != kNoBlock) {
        block = new_blocks_[static_cast<std::size_t>(-1 - block)].number;
      }
    }
  }
  Sequence& sequence = cache_.sequences_[id];
  if (draft.origin != id) {  // a new sequence, perhaps of a name that was freed
    sequence = copied ? std::move(*copied) : Sequence{};
    sequence.layers.resize(cache_.places_.size());
  }
  sequence.length = draft.length;
  sequence.floor = draft.floor;
  if (sequence.blocks == draft.blocks) return;
  sequence.blocks = std::move(draft.blocks);
  cache_.place_pages(sequence);
}

}  // namespace tandem::cache
