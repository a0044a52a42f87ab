#include "scheduler/kv_book.h"

#include <algorithm>

#include "base/check.h"

namespace tandem::scheduler {

KvBook::KvBook(KvShape shape, bool sharing)
    : shape_(std::move(shape)),
      sharing_(sharing),
      pages_(shape_.groups.size()),
      unused_(shape_.groups.size()),
      held_(shape_.none()),
      pinned_(shape_.none()) {}

std::uint32_t KvBook::length(std::uint64_t id) const {
  const auto found = sequences_.find(id);
  return found == sequences_.end() ? 0 : found->second.length;
}

std::uint32_t KvBook::least(std::uint64_t id) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return 0;
  return shape_.least_length(found->second.length, found->second.floor);
}

std::uint32_t KvBook::least_after(std::uint64_t id, std::uint32_t count) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return shape_.least_length(count, floor_of(count));
  const std::uint32_t length = found->second.length + count;
  return shape_.least_length(length, std::max(found->second.floor, floor_of(length)));
}

std::size_t KvBook::new_page(std::size_t group) {
  if (unused_[group].empty()) {
    unused_[group].push_back(pages_[group].size());
    pages_[group].emplace_back();
  }
  const std::size_t page = unused_[group].back();
  unused_[group].pop_back();
  return page;
}

void KvBook::add(std::size_t group, std::size_t page, bool pin) {
  Page& entry = pages_[group][page];
  if (++entry.references == 1) ++held_[group];
  if (pin && ++entry.pins == 1) ++pinned_[group];
}

void KvBook::remove(std::size_t group, std::size_t page, bool pin) {
  Page& entry = pages_[group][page];
  if (pin && --entry.pins == 0) --pinned_[group];
  if (--entry.references > 0) return;
  --held_[group];
  unused_[group].push_back(page);
}

/// All pages but those of the first `length` tokens.
void KvBook::drop_pages(Sequence& sequence, std::uint32_t length) {
  for (std::size_t g = 0; g < sequence.pages.size(); ++g) {
    auto& pages = sequence.pages[g];
    const std::size_t keep = shape_.groups[g].places(length);
    for (std::size_t i = keep; i < pages.size(); ++i) {
      if (pages[i] != kNoPage) remove(g, pages[i], sequence.running);
    }
    pages.resize(std::min(keep, pages.size()));
  }
}

/// Whether the next append of a sequence first copies its last page.
bool KvBook::copies(const Sequence& sequence, std::size_t group) const {
  return shape_.groups[group].writes_last(sequence.length) &&
         pages_[group][sequence.pages[group].back()].references > 1;
}

void KvBook::append(std::uint64_t id, std::uint32_t count) {
  Sequence& sequence = sequences_[id];
  check(sequence.running && count > 0, "tokens are appended to a running sequence");
  sequence.pages.resize(shape_.groups.size());
  const PageCounts places = shape_.places(std::uint64_t{sequence.length} + count);
  for (std::size_t g = 0; g < sequence.pages.size(); ++g) {
    auto& pages = sequence.pages[g];
    if (copies(sequence, g)) {
      remove(g, pages.back(), true);
      pages.back() = new_page(g);
      add(g, pages.back(), true);
    }
    while (pages.size() < places[g]) {
      pages.push_back(new_page(g));
      add(g, pages.back(), true);
    }
  }
  sequence.length += count;
  grown_.push_back(id);
}

std::vector<std::uint64_t> KvBook::end_tick() {
  for (const std::uint64_t id : grown_) {
    const auto found = sequences_.find(id);
    if (found == sequences_.end()) continue;
    Sequence& sequence = found->second;
    sequence.floor = std::max(sequence.floor, floor_of(sequence.length));
    for (std::size_t g = 0; g < sequence.pages.size(); ++g) {
      auto& pages = sequence.pages[g];
      for (std::size_t i = first_page(shape_.groups[g].window, sequence.floor);
           i-- > 0 && pages[i] != kNoPage;) {
        remove(g, std::exchange(pages[i], kNoPage), sequence.running);
      }
    }
  }
  return std::exchange(grown_, {});
}

void KvBook::fork(std::uint64_t id, std::uint64_t source, std::uint32_t length) {
  const Sequence& from = sequences_.at(source);
  check(!sequences_.contains(id) && length > 0 && length <= from.length &&
            length >= shape_.least_length(from.length, from.floor),
        "a prefix that is there is copied once");
  Sequence sequence;
  sequence.length = length;
  sequence.floor = std::max(from.floor, floor_of(length));
  for (std::size_t g = 0; g < from.pages.size(); ++g) {
    const StateRule& rule = shape_.groups[g];
    auto& pages = sequence.pages.emplace_back(rule.places(length), kNoPage);
    for (std::size_t i = first_page(rule.window, sequence.floor); i < pages.size(); ++i) {
      pages[i] = sharing_ ? from.pages[g][i] : new_page(g);
      add(g, pages[i], true);
    }
  }
  sequences_.emplace(id, std::move(sequence));
}

void KvBook::rewind(std::uint64_t id, std::uint32_t length) {
  Sequence& sequence = sequences_.at(id);
  check(length <= sequence.length && length >= shape_.least_length(sequence.length, sequence.floor),
        "rewinding only shortens, to what is there");
  sequence.length = length;
  drop_pages(sequence, length);
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
  for (std::size_t g = 0; g < sequence.pages.size(); ++g) {
    for (const std::size_t page : sequence.pages[g]) {
      if (page != kNoPage && --pages_[g][page].pins == 0) --pinned_[g];
    }
  }
}

PageCounts KvBook::pages_to_append(std::uint64_t id, std::uint32_t count) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return shape_.places(count);
  const Sequence& sequence = found->second;
  PageCounts pages = shape_.places(std::uint64_t{sequence.length} + count);
  for (std::size_t g = 0; g < pages.size(); ++g) {
    pages[g] -= sequence.pages[g].size();
    pages[g] += copies(sequence, g) ? 1 : 0;
  }
  return pages;
}

PageCounts KvBook::pages_to_grow(std::uint64_t id, std::uint64_t tokens) const {
  PageCounts pages = shape_.needed(tokens);
  const auto found = sequences_.find(id);
  const std::uint64_t copied = shares_last_page(id) ? 1 : 0;
  for (std::size_t g = 0; g < pages.size(); ++g) {
    if (shape_.groups[g].recurrent()) {
      pages[g] = 0;
    } else if (found != sequences_.end()) {
      const std::uint64_t all = found->second.pages[g].size();
      const std::uint32_t gone = first_page(shape_.groups[g].window, found->second.floor);
      const std::uint64_t has = all - std::min<std::uint64_t>(all, gone);
      pages[g] = std::max(pages[g], has) - has + copied;
    }
  }
  return pages;
}

bool KvBook::shares_last_page(std::uint64_t id) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || found->second.length % kPageTokens == 0) return false;
  const auto& pages = found->second.pages;
  for (std::size_t g = 0; g < pages.size(); ++g) {
    if (shape_.groups[g].recurrent()) continue;
    if (pages_[g][pages[g].back()].pins > 1) return true;
  }
  return false;
}

PageCounts KvBook::pinned_pages(std::uint64_t source, std::uint32_t length) const {
  PageCounts pages = shape_.none();
  const auto found = sequences_.find(source);
  if (found == sequences_.end() || !sharing_) return pages;
  const std::uint32_t floor = std::max(found->second.floor, floor_of(length));
  for (std::size_t g = 0; g < pages.size(); ++g) {
    if (shape_.groups[g].recurrent()) continue;
    const auto& own = found->second.pages[g];
    for (std::size_t i = first_page(shape_.groups[g].window, floor); i < length / kPageTokens;
         ++i) {
      if (pages_[g][own[i]].pins > 0) ++pages[g];
    }
  }
  return pages;
}

std::uint32_t KvBook::length_for(std::uint64_t id,
                                 const std::function<bool(const PageCounts& held)>& few) const {
  const Sequence& sequence = sequences_.at(id);
  const std::uint32_t least = shape_.least_length(sequence.length, sequence.floor);
  PageCounts held = held_;
  std::uint64_t length = sequence.length;
  for (std::size_t keep = pages_of(length); !few(held); length = keep * kPageTokens) {
    if (keep == 0 || shape_.recurrent()) return 0;
    --keep;
    for (std::size_t g = 0; g < held.size(); ++g) {
      const std::size_t page = sequence.pages[g][keep];
      if (page != kNoPage && pages_[g][page].references == 1) --held[g];
    }
  }
  return length < least ? 0 : static_cast<std::uint32_t>(length);
}

}  // namespace tandem::scheduler
