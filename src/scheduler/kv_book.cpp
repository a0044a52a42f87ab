#include "scheduler/kv_book.h"

#include <algorithm>

#include "base/check.h"

namespace tandem::scheduler {

std::uint32_t KvBook::length(std::uint64_t id) const {
  const auto found = sequences_.find(id);
  return found == sequences_.end() ? 0 : found->second.length;
}

std::size_t KvBook::new_page() {
  if (unused_.empty()) {
    unused_.push_back(pages_.size());
    pages_.emplace_back();
  }
  const std::size_t page = unused_.back();
  unused_.pop_back();
  return page;
}

void KvBook::add(std::size_t page, bool pin) {
  Page& entry = pages_[page];
  if (++entry.references == 1) ++held_;
  if (pin && ++entry.pins == 1) ++pinned_;
}

void KvBook::remove(std::size_t page, bool pin) {
  Page& entry = pages_[page];
  if (pin && --entry.pins == 0) --pinned_;
  if (--entry.references > 0) return;
  --held_;
  unused_.push_back(page);
}

void KvBook::drop_pages(Sequence& sequence, std::size_t keep) {
  for (std::size_t i = keep; i < sequence.pages.size(); ++i) {
    remove(sequence.pages[i], sequence.running);
  }
  sequence.pages.resize(std::min(keep, sequence.pages.size()));
}

void KvBook::append(std::uint64_t id, std::uint32_t count) {
  Sequence& sequence = sequences_[id];
  check(sequence.running && count > 0, "tokens are appended to a running sequence");
  if (sequence.length % kPageTokens != 0 && pages_[sequence.pages.back()].references > 1) {
    remove(sequence.pages.back(), true);
    sequence.pages.back() = new_page();
    add(sequence.pages.back(), true);
  }
  sequence.length += count;
  while (sequence.pages.size() < pages_of(sequence.length)) {
    sequence.pages.push_back(new_page());
    add(sequence.pages.back(), true);
  }
}

void KvBook::fork(std::uint64_t id, std::uint64_t source, std::uint32_t length) {
  const Sequence& from = sequences_.at(source);
  check(!sequences_.contains(id) && length > 0 && length <= from.length, "a prefix is copied once");
  Sequence sequence;
  sequence.length = length;
  sequence.pages.assign(from.pages.begin(),
                        from.pages.begin() + static_cast<std::ptrdiff_t>(pages_of(length)));
  for (std::size_t& page : sequence.pages) {
    if (!sharing_) page = new_page();
    add(page, true);
  }
  sequences_.emplace(id, std::move(sequence));
}

void KvBook::rewind(std::uint64_t id, std::uint32_t length) {
  Sequence& sequence = sequences_.at(id);
  check(length <= sequence.length, "rewinding only shortens");
  sequence.length = length;
  drop_pages(sequence, static_cast<std::size_t>(pages_of(length)));
}

void KvBook::free(std::uint64_t id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  drop_pages(found->second, 0);
  sequences_.erase(found);
}

void KvBook::unpin(std::uint64_t id) {
  Sequence& sequence = sequences_.at(id);
  check(sequence.running, "a sequence ends once");
  sequence.running = false;
  for (const std::size_t page : sequence.pages) {
    if (--pages_[page].pins == 0) --pinned_;
  }
}

std::uint64_t KvBook::pages_to_append(std::uint64_t id, std::uint32_t count) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return pages_of(count);
  const Sequence& sequence = found->second;
  const std::uint64_t length = sequence.length;
  const bool copies = length % kPageTokens != 0 && pages_[sequence.pages.back()].references > 1;
  return pages_of(length + count) - pages_of(length) + (copies ? 1 : 0);
}

bool KvBook::shares_last_page(std::uint64_t id) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || found->second.length % kPageTokens == 0) return false;
  return pages_[found->second.pages.back()].pins > 1;
}

std::uint64_t KvBook::pinned_pages(std::uint64_t source, std::uint32_t length) const {
  const auto found = sequences_.find(source);
  if (found == sequences_.end() || !sharing_) return 0;
  const auto begin = found->second.pages.begin();
  return static_cast<std::uint64_t>(
      std::count_if(begin, begin + static_cast<std::ptrdiff_t>(length / kPageTokens),
                    [&](std::size_t page) { return pages_[page].pins > 0; }));
}

std::uint32_t KvBook::length_without(std::uint64_t id, std::uint64_t pages) const {
  const Sequence& sequence = sequences_.at(id);
  std::uint64_t freed = 0;
  std::size_t keep = sequence.pages.size();
  while (keep > 0 && freed < pages) {
    --keep;
    if (pages_[sequence.pages[keep]].references == 1) ++freed;
  }
  const std::uint64_t length = freed < pages ? 0 : keep * kPageTokens;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(length, sequence.length));
}

}  // namespace tandem::scheduler
