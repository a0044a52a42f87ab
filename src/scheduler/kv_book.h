#pragma once
// The pages of the stages' caches, known to the gateway without asking.

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "tandem/limits.h"

namespace tandem::scheduler {

inline std::uint64_t pages_of(std::uint64_t tokens) {
  return tokens / kPageTokens + (tokens % kPageTokens == 0 ? 0 : 1);
}

/// Follows the rules of cache::KvCache: sequences share the pages of a copied prefix, and one that
/// writes into a shared page gets its own copy. Told the same operations in the same order it holds
/// as many pages as every stage does. Pages of running sequences are pinned; those that only idle
/// ones hold can be had by rewinding or freeing these. A plain value.
class KvBook {
 public:
  /// sharing false: every copied prefix counts as pages of its own, for stages that keep KV in
  /// arrays of each sequence. They then hold no more than this says.
  explicit KvBook(bool sharing = true) : sharing_(sharing) {}

  /// Tokens of a sequence; 0 when it is unknown.
  std::uint32_t length(std::uint64_t id) const;

  /// Appends to a running sequence; an unknown one begins to run.
  void append(std::uint64_t id, std::uint32_t count);
  /// Begins to run `id`, which is unknown, with the first `length` (at least 1) tokens of `source`.
  void fork(std::uint64_t id, std::uint64_t source, std::uint32_t length);
  void rewind(std::uint64_t id, std::uint32_t length);
  /// Forgets a sequence; unknown ones are ignored.
  void free(std::uint64_t id);
  /// A running sequence becomes idle.
  void unpin(std::uint64_t id);

  /// Pages that append(id, count) takes.
  std::uint64_t pages_to_append(std::uint64_t id, std::uint32_t count) const;
  /// Whether the next append first copies a page that another running sequence uses.
  bool shares_last_page(std::uint64_t id) const;
  /// Pages of the first `length` tokens of `source` that stay pinned, or get it by fork(),
  /// without a further page: those that are pinned already and complete.
  std::uint64_t pinned_pages(std::uint64_t source, std::uint32_t length) const;
  /// The greatest length to which rewinding `id` gives back `pages` pages; 0 when it cannot.
  std::uint32_t length_without(std::uint64_t id, std::uint64_t pages) const;

  std::uint64_t held() const { return held_; }
  std::uint64_t pinned() const { return pinned_; }
  std::size_t sequences() const { return sequences_.size(); }

 private:
  struct Sequence {
    std::uint32_t length = 0;
    bool running = true;
    std::vector<std::size_t> pages;
  };
  struct Page {
    int references = 0;
    int pins = 0;
  };
  std::size_t new_page();
  void add(std::size_t page, bool pin);
  void remove(std::size_t page, bool pin);
  void drop_pages(Sequence& sequence, std::size_t keep);

  bool sharing_;
  std::map<std::uint64_t, Sequence> sequences_;
  std::vector<Page> pages_;
  std::vector<std::size_t> unused_;  // numbers without a reference
  std::uint64_t held_ = 0;
  std::uint64_t pinned_ = 0;
};

}  // namespace tandem::scheduler
