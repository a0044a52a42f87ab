#include "scheduler/kv_memory.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tandem::scheduler {

KvMemory::Match KvMemory::match(std::uint64_t salt, std::span<const std::int32_t> prompt,
                                const Rank& rank) const {
  if (prompt.size() <= 1) return {};
  const auto all_but_one = prompt.first(prompt.size() - 1);
  Match match;
  if (const auto now = index_.longest(salt, all_but_one)) match = {now->id, now->length, false};
  const auto later = index_.coming(salt, all_but_one, rank);
  match.soon = later && later->length >= match.length + kWorthWaiting;
  return match;
}

void KvMemory::begin(std::uint64_t id, std::uint64_t salt, std::span<const std::int32_t> tokens,
                     const Rank& rank, const Match& match) {
  running_.emplace(id, salt);
  index_.add(id, salt, tokens, rank);
  if (match.source == 0) return;
  const bool idle = idle_.contains(match.source);
  if (!limits_.sharing && !idle) make_room(pages_of(match.length));
  book_.fork(id, match.source, match.length);
  index_.set_usable(id, {0, match.length});
  ops_.push_back({StateOp::Kind::kFork, id, match.source, match.length});
  if (!idle) return;
  touch(match.source);
  // The new sequence has all that the old one had; or takes its memory over.
  if (!limits_.sharing || book_.length(match.source) == match.length) drop(match.source);
}

/// So that `pages` more can be held.
void KvMemory::make_room(std::uint64_t pages) {
  while (book_.held() + pages > limits_.pages) {
    shrink_oldest(book_.held() + pages - limits_.pages);
  }
}

void KvMemory::append(std::uint64_t id, std::uint32_t count) {
  check(running_.contains(id), "only a running sequence gets tokens");
  for (;;) {
    const std::uint64_t needed = book_.held() + book_.pages_to_append(id, count);
    if (needed <= limits_.pages) break;
    shrink_oldest(needed - limits_.pages);
  }
  book_.append(id, count);
  index_.set_usable(id, {0, book_.length(id)});
}

void KvMemory::end(std::uint64_t id, std::span<const std::int32_t> tokens) {
  const auto found = running_.find(id);
  check(found != running_.end(), "a running sequence stops");
  const std::uint64_t salt = found->second;
  running_.erase(found);
  index_.remove(id);
  const std::uint32_t length = book_.length(id);
  if (length == 0) return;
  if (limits_.idle_tokens == 0) return drop(id);
  const auto computed = tokens.first(length);
  const auto other = index_.longest(salt, computed);
  if (other && other->length == length) {  // all of it is there a second time
    if (idle_.contains(other->id)) touch(other->id);
    drop(id);
    return;
  }
  book_.unpin(id);
  index_.add(id, salt, computed);
  index_.set_usable(id, {0, length});
  touch(id);
  keep_limits();
}

void KvMemory::drop(std::uint64_t id) {
  running_.erase(id);
  forget(id);
  index_.remove(id);
  book_.free(id);
  ops_.push_back({.kind = StateOp::Kind::kFree, .sequence = id});
}

std::vector<StateOp> KvMemory::take_ops() { return std::exchange(ops_, {}); }

void KvMemory::touch(std::uint64_t idle) {
  forget(idle);
  idle_[idle] = ++use_;
  uses_[use_] = idle;
}

void KvMemory::forget(std::uint64_t idle) {
  const auto found = idle_.find(idle);
  if (found == idle_.end()) return;
  uses_.erase(found->second);
  idle_.erase(found);
}

/// Gives back up to `pages` pages of the idle sequence that was unused for longest.
void KvMemory::shrink_oldest(std::uint64_t pages) {
  check(!uses_.empty(), "pages that are not pinned belong to idle sequences");
  const std::uint64_t id = uses_.begin()->second;
  const std::uint32_t length = book_.length_without(id, pages);
  if (length == 0) return drop(id);
  book_.rewind(id, length);
  index_.truncate(id, length);
  ops_.push_back({.kind = StateOp::Kind::kRewind, .sequence = id, .length = length});
}

void KvMemory::keep_limits() {
  while (idle_.size() > kIdleSequencesMax) drop(uses_.begin()->second);
  const std::uint64_t most = limits_.idle_tokens / kPageTokens;
  while (!idle_.empty() && book_.held() - book_.pinned() > most) {
    shrink_oldest(book_.held() - book_.pinned() - most);
  }
}

}  // namespace tandem::scheduler
