#pragma once
// The pages of the stages' caches, known to the gateway without asking.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "scheduler/kv_shape.h"
#include "tandem/limits.h"

namespace tandem::scheduler {

inline std::uint64_t pages_of(std::uint64_t tokens) {
  return tokens / kPageTokens + (tokens % kPageTokens == 0 ? 0 : 1);
}

/// Follows the rules of cache::KvCache: sequences share the pages of a copied prefix, one that
/// writes into a shared page gets its own copy, pages behind a window go, and of a recurrent group
/// there is one page a sequence, its slot. Told the same operations in the same order it holds as
/// many pages of each group as every stage does. Pages of running sequences are pinned; those that
/// only idle ones hold can be had by rewinding or freeing these. A plain value.
class KvBook {
 public:
  /// sharing false: every copied prefix counts as pages of its own, for stages that keep KV in
  /// arrays of each sequence. They then hold no more than this says.
  explicit KvBook(KvShape shape, bool sharing = true);

  /// Tokens of a sequence; 0 when it is unknown.
  std::uint32_t length(std::uint64_t id) const;
  /// The least length that a sequence can be rewound to, or its prefix copied; between ticks.
  std::uint32_t least(std::uint64_t id) const;
  /// The same, once the tick is over in which `count` tokens are appended.
  std::uint32_t least_after(std::uint64_t id, std::uint32_t count) const;

  /// Appends to a running sequence; an unknown one begins to run.
  void append(std::uint64_t id, std::uint32_t count);
  /// The tick is complete: what only its tokens could see is let go. Returns who grew in it.
  std::vector<std::uint64_t> end_tick();
  /// Begins to run `id`, which is unknown, with the first `length` (at least 1) tokens of `source`.
  void fork(std::uint64_t id, std::uint64_t source, std::uint32_t length);
  void rewind(std::uint64_t id, std::uint32_t length);
  /// Forgets a sequence; unknown ones are ignored.
  void free(std::uint64_t id);
  /// A running sequence becomes idle.
  void unpin(std::uint64_t id);

  /// Pages that append(id, count) takes.
  PageCounts pages_to_append(std::uint64_t id, std::uint32_t count) const;
  /// Pages that a running sequence takes beside those it has until it has `tokens` tokens. Slots
  /// are not among them: see KvMemory::claimed().
  PageCounts pages_to_grow(std::uint64_t id, std::uint64_t tokens) const;
  /// Whether the next append first copies a page, no slot, that another running sequence uses.
  bool shares_last_page(std::uint64_t id) const;
  /// Pages of the first `length` tokens of `source` that stay pinned, or get it by fork(),
  /// without a further page: those that are pinned already and complete. A slot never is.
  PageCounts pinned_pages(std::uint64_t source, std::uint32_t length) const;
  /// The greatest length to which `id` can be rewound so that the pages then held are `few`
  /// enough; 0 when there is none.
  std::uint32_t length_for(std::uint64_t id,
                           const std::function<bool(const PageCounts& held)>& few) const;

  const KvShape& shape() const { return shape_; }
  const PageCounts& held() const { return held_; }
  const PageCounts& pinned() const { return pinned_; }
  std::size_t sequences() const { return sequences_.size(); }

 private:
  static constexpr std::size_t kNoPage = std::numeric_limits<std::size_t>::max();
  struct Sequence {
    std::uint32_t length = 0;
    std::uint32_t floor = 0;  // see state_group.h
    bool running = true;
    std::vector<std::vector<std::size_t>> pages;  // of each group; kNoPage: let go
  };
  struct Page {
    int references = 0;
    int pins = 0;
  };
  std::size_t new_page(std::size_t group);
  void add(std::size_t group, std::size_t page, bool pin);
  void remove(std::size_t group, std::size_t page, bool pin);
  void drop_pages(Sequence& sequence, std::uint32_t length);
  bool copies(const Sequence& sequence, std::size_t group) const;

  KvShape shape_;
  bool sharing_;
  std::map<std::uint64_t, Sequence> sequences_;
  std::vector<std::vector<Page>> pages_;          // of each group
  std::vector<std::vector<std::size_t>> unused_;  // numbers without a reference
  PageCounts held_;
  PageCounts pinned_;
  std::vector<std::uint64_t> grown_;  // in this tick
};

}  // namespace tandem::scheduler
