#include "scheduler/kv_memory.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tandem::scheduler {

KvMemory::KvMemory(KvLimits limits)
    : limits_(std::move(limits)), book_(limits_.shape, limits_.sharing) {}

KvMemory::Match KvMemory::match(std::uint64_t salt, std::span<const std::int32_t> prompt,
                                const QueuePosition& rank) const {
  if (prompt.size() <= 1) return {};
  const auto all_but_one = prompt.first(prompt.size() - 1);
  Match match;
  if (const auto now = index_.longest(salt, all_but_one)) {
    match.source = now->id;
    match.length = now->length;
  }
  const auto later = index_.coming(salt, all_but_one, rank);
  if (later && later->length >= match.length + kWorthWaiting) {
    match.coming = later->id;
    match.coming_length = later->length;
  }
  return match;
}

void KvMemory::set_usable(std::uint64_t id) {
  index_.set_usable(id, {book_.least(id), book_.length(id)});
}

void KvMemory::add_stop(Running& running, std::uint64_t id, std::uint32_t length) {
  if (!limits_.shape.windowed() || length <= book_.length(id)) return;
  const auto place = std::lower_bound(running.stops.begin(), running.stops.end(), length);
  if (place == running.stops.end() || *place != length) running.stops.insert(place, length);
}

void KvMemory::wait_for(const Match& match) {
  add_stop(running_.at(match.coming), match.coming, match.coming_length);
}

std::uint32_t KvMemory::tokens_to_stop(std::uint64_t id) const {
  const auto found = running_.find(id);
  if (found == running_.end()) return 0;
  const std::uint32_t length = book_.length(id);
  for (const std::uint32_t stop : found->second.stops) {
    // What the end of the prompt leaves there needs no tick of its own.
    if (stop > length && stop < found->second.least_at_end) return stop - length;
  }
  return 0;
}

void KvMemory::begin(std::uint64_t id, std::uint64_t salt, std::span<const std::int32_t> tokens,
                     const QueuePosition& rank, const Match& match) {
  Running& running = running_[id];
  running.salt = salt;
  running.least_at_end = book_.least_after(id, static_cast<std::uint32_t>(tokens.size()));
  const std::uint32_t parted = index_.common(salt, tokens);
  index_.add(id, salt, tokens, rank);
  if (match.source != 0) {
    const bool idle = idle_.contains(match.source);
    if (!limits_.sharing && !idle) make_room(limits_.shape.blocks(pages_of(match.length)));
    book_.fork(id, match.source, match.length);
    set_usable(id);
    ops_.push_back({StateOp::Kind::kFork, id, match.source, match.length});
    if (idle) {
      touch(match.source);
      // The new sequence has all that the old one had; or takes its memory over.
      const bool all = book_.length(match.source) == match.length && match.source < kSnapshotIds;
      if (!limits_.sharing || all) drop(match.source);
    }
  }
  if (parted >= match.length + kWorthWaiting) add_stop(running, id, parted);
  add_stop(running, id, static_cast<std::uint32_t>(tokens.size()));
}

/// So that `pages` more can be held.
void KvMemory::make_room(const PageCounts& pages) {
  const auto few = [&](const PageCounts& held) { return limits_.shape.fits(held + pages); };
  while (!few(book_.held())) shrink_oldest(few);
}

/// What is to be kept and would be lost by the next `count` tokens becomes an idle sequence.
void KvMemory::keep_snapshots(std::uint64_t id, std::uint32_t count) {
  auto& stops = running_.at(id).stops;
  if (stops.empty()) return;
  const std::uint32_t least = book_.least(id);
  const std::uint32_t least_after = book_.least_after(id, count);
  const std::uint32_t length = book_.length(id);
  std::erase_if(stops, [&](std::uint32_t stop) {
    if (stop > length || stop >= least_after) return false;
    if (stop < least || limits_.idle_bytes == 0) return true;
    const std::uint64_t name = snapshots_++;
    book_.fork(name, id, stop);
    book_.unpin(name);
    ops_.push_back({StateOp::Kind::kFork, name, id, stop});
    index_.add_prefix(name, id, stop);
    set_usable(name);
    touch(name);
    return true;
  });
  keep_limits();
}

void KvMemory::append(std::uint64_t id, std::uint32_t count) {
  check(running_.contains(id), "only a running sequence gets tokens");
  keep_snapshots(id, count);
  const auto few = [&](const PageCounts& held) {
    return limits_.shape.fits(held + book_.pages_to_append(id, count));
  };
  while (!few(book_.held())) shrink_oldest(few);
  book_.append(id, count);
  set_usable(id);
}

void KvMemory::end(std::uint64_t id, std::span<const std::int32_t> tokens) {
  const auto found = running_.find(id);
  check(found != running_.end(), "a running sequence stops");
  const std::uint64_t salt = found->second.salt;
  running_.erase(found);
  index_.remove(id);
  const std::uint32_t length = book_.length(id);
  if (length == 0) return;
  if (limits_.idle_bytes == 0) return drop(id);
  const auto computed = tokens.first(length);
  const auto other = index_.longest(salt, computed);
  if (other && other->length == length) {  // all of it is there a second time
    if (idle_.contains(other->id)) touch(other->id);
    drop(id);
    return;
  }
  book_.unpin(id);
  index_.add(id, salt, computed);
  set_usable(id);
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

std::vector<StateOp> KvMemory::take_ops() {
  for (const std::uint64_t id : book_.end_tick()) {
    if (running_.contains(id)) set_usable(id);
  }
  return std::exchange(ops_, {});
}

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

/// Gives back pages of the idle sequence that was unused for longest, until those held are `few`.
void KvMemory::shrink_oldest(const std::function<bool(const PageCounts& held)>& few) {
  check(!uses_.empty(), "pages that are not pinned belong to idle sequences");
  const std::uint64_t id = uses_.begin()->second;
  const std::uint32_t length = book_.length_for(id, few);
  if (length == 0) return drop(id);
  book_.rewind(id, length);
  index_.truncate(id, length);
  ops_.push_back({.kind = StateOp::Kind::kRewind, .sequence = id, .length = length});
}

void KvMemory::keep_limits() {
  while (idle_.size() > kIdleSequencesMax) drop(uses_.begin()->second);
  const auto few = [&](const PageCounts& held) {
    return limits_.shape.bytes(held) - limits_.shape.bytes(book_.pinned()) <= limits_.idle_bytes;
  };
  while (!idle_.empty() && !few(book_.held())) shrink_oldest(few);
}

}  // namespace tandem::scheduler
