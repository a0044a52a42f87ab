#include "cache/transaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"

namespace tandem::cache {
namespace {

std::size_t blocks_for(std::uint64_t tokens) {
  return static_cast<std::size_t>((tokens + kPageTokens - 1) / kPageTokens);
}

}  // namespace

KvCache::Transaction::Draft* KvCache::Transaction::find(std::uint64_t sequence) {
  if (const auto it = drafts_.find(sequence); it != drafts_.end()) {
    return it->second.gone ? nullptr : &it->second;
  }
  const auto it = cache_.sequences_.find(sequence);
  if (it == cache_.sequences_.end()) return nullptr;
  Draft draft;
  draft.length = it->second.length;
  draft.blocks = it->second.blocks;
  draft.origin = sequence;
  return &drafts_.emplace(sequence, std::move(draft)).first->second;
}

int KvCache::Transaction::references(int block) const {
  const auto it = deltas_.find(block);
  return cache_.pool_.references(block) + (it == deltas_.end() ? 0 : it->second);
}

void KvCache::Transaction::drop_blocks(Draft& draft, std::size_t keep) {
  for (std::size_t i = keep; i < draft.blocks.size(); ++i) --deltas_[draft.blocks[i]];
  draft.blocks.resize(std::min(keep, draft.blocks.size()));
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

Status KvCache::Transaction::rewind(const StateOp& op) {
  Draft* draft = find(op.sequence);
  if (draft == nullptr) return invalid(fmt::format("rewind: unknown sequence {}", op.sequence));
  if (op.length > draft->length) {
    return invalid(fmt::format("rewind: sequence {} has {} tokens, fewer than {}", op.sequence,
                               draft->length, op.length));
  }
  draft->length = op.length;
  drop_blocks(*draft, blocks_for(op.length));
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
  if (op.length < 1 || op.length > source->length) {
    return invalid(fmt::format("fork: sequence {} has {} tokens, asked for {}", op.source,
                               source->length, op.length));
  }
  Draft draft;
  draft.length = op.length;
  const auto shared = static_cast<std::ptrdiff_t>(blocks_for(op.length));
  draft.blocks.assign(source->blocks.begin(), source->blocks.begin() + shared);
  draft.origin = source->origin;
  for (const int block : draft.blocks) ++deltas_[block];
  drafts_.insert_or_assign(op.sequence, std::move(draft));
  return {};
}

Status KvCache::Transaction::append(const Append& append) {
  Draft* draft = find(append.sequence);
  if (draft == nullptr && append.position == 0) {
    draft = &drafts_.insert_or_assign(append.sequence, Draft{}).first->second;
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
  if (append.count / kPageTokens > cache_.bytes_max_ / cache_.block_bytes()) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("KV memory: {} tokens of sequence {} do not fit {} bytes",
                             append.count, append.sequence, cache_.bytes_max_)};
  }
  draft->appended = true;
  if (draft->length % kPageTokens != 0) {
    int& last = draft->blocks.back();
    if (references(last) > 1) {  // others read this block: write into a copy
      --deltas_[last];
      new_blocks_.push_back({last, -1});
      last = -static_cast<int>(new_blocks_.size());
    }
  }
  draft->length += append.count;
  while (draft->blocks.size() < blocks_for(draft->length)) {
    new_blocks_.push_back({std::nullopt, -1});
    draft->blocks.push_back(-static_cast<int>(new_blocks_.size()));
  }
  return {};
}

Status KvCache::Transaction::check_limits() const {
  std::int64_t blocks = static_cast<std::int64_t>(cache_.pool_.live() + new_blocks_.size());
  for (const auto& [block, delta] : deltas_) {
    if (cache_.pool_.references(block) + delta == 0) --blocks;
  }
  // 128 bits are not needed: both factors are far below 2^32 wherever memory is finite.
  const std::uint64_t bytes = static_cast<std::uint64_t>(blocks) * cache_.block_bytes();
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
  for (NewBlock& block : new_blocks_) {
    const auto number = cache_.pool_.allocate();
    if (!number) {
      for (const NewBlock& made : new_blocks_) {
        if (made.number >= 0) cache_.pool_.release(made.number);
      }
      return false;
    }
    block.number = *number;
    std::byte* memory = cache_.pool_.data(*number);
    if (block.copy_of && memory != nullptr) {
      std::memcpy(memory, cache_.pool_.data(*block.copy_of), cache_.pool_.block_bytes());
    }
  }
  return true;
}

Status KvCache::Transaction::commit() {
  if (!allocate()) {
    return Error{ErrorCode::kResourceLimit, "KV memory: the system has no more"};
  }
  for (const auto& [block, delta] : deltas_) {
    for (int i = 0; i < delta; ++i) cache_.pool_.add_reference(block);
    for (int i = 0; i > delta; --i) cache_.pool_.release(block);
  }
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
  for (int& block : draft.blocks) {
    if (block < 0) block = new_blocks_[static_cast<std::size_t>(-1 - block)].number;
  }
  Sequence& sequence = cache_.sequences_[id];
  if (draft.origin != id) {  // a new sequence, perhaps of a name that was freed
    sequence = copied ? std::move(*copied) : Sequence{};
    sequence.layers.resize(cache_.offsets_.size());
  }
  const auto common = std::mismatch(sequence.blocks.begin(), sequence.blocks.end(),
                                    draft.blocks.begin(), draft.blocks.end());
  const auto same = static_cast<std::size_t>(common.first - sequence.blocks.begin());
  sequence.length = draft.length;
  sequence.blocks = std::move(draft.blocks);
  cache_.place_pages(sequence, same);
}

}  // namespace tandem::cache
