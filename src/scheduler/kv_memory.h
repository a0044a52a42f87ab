#pragma once
// Who holds KV in the stages: running sequences, and idle ones whose beginnings may serve again.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "scheduler/kv_book.h"
#include "scheduler/prefix_index.h"
#include "tandem/tick.h"

namespace tandem::scheduler {

/// Most idle sequences: each costs the stages and this process a list of its tokens.
inline constexpr std::size_t kIdleSequencesMax = 512;
/// A prompt waits for an older one that is computing the same beginning if that saves this many
/// tokens.
inline constexpr std::uint32_t kWorthWaiting = 16;

struct KvLimits {
  std::uint64_t pages = std::numeric_limits<std::uint64_t>::max();        // of the tightest rank
  bool sharing = true;                                                    // see KvBook
  std::uint64_t idle_tokens = std::numeric_limits<std::uint64_t>::max();  // used by idle ones only
};

/// Every change is an operation for the next tick, whose entries come after all of them. Idle
/// sequences give way, the longest unused first and from their ends, whenever a running one needs a
/// page. A plain value.
class KvMemory {
 public:
  explicit KvMemory(KvLimits limits) : limits_(limits), book_(limits.sharing) {}

  /// Where a prompt's beginning is computed already.
  struct Match {
    std::uint64_t source = 0;  // 0: nowhere
    std::uint32_t length = 0;
    bool soon = false;  // a running sequence before `rank` is about to compute more of it
  };
  /// At least one token of the prompt is left to compute.
  Match match(std::uint64_t salt, std::span<const std::int32_t> prompt, const Rank& rank) const;

  /// A sequence begins to run, with what the match offers. Its `tokens` can be matched as far as
  /// they are computed.
  void begin(std::uint64_t id, std::uint64_t salt, std::span<const std::int32_t> tokens,
             const Rank& rank, const Match& match);
  /// The next tick computes `count` more tokens of a running sequence. The caller has seen to it
  /// that the pages it needs are not pinned.
  void append(std::uint64_t id, std::uint32_t count);
  /// A running sequence stops. What is computed of `tokens`, all of its tokens, may serve others.
  void end(std::uint64_t id, std::span<const std::int32_t> tokens);
  /// Frees whatever the stages hold of that name, running or not.
  void drop(std::uint64_t id);

  /// The operations for the next tick, in order.
  std::vector<StateOp> take_ops();

  const KvBook& book() const { return book_; }
  /// Pages that no running sequence uses.
  std::uint64_t free_pages() const { return limits_.pages - book_.pinned(); }
  std::size_t idle() const { return idle_.size(); }

 private:
  void touch(std::uint64_t idle);
  void forget(std::uint64_t idle);
  void make_room(std::uint64_t pages);
  void shrink_oldest(std::uint64_t pages);
  void keep_limits();

  KvLimits limits_;
  KvBook book_;
  PrefixIndex index_;
  std::map<std::uint64_t, std::uint64_t> running_;  // id -> salt
  std::map<std::uint64_t, std::uint64_t> idle_;     // id -> when it was last used
  std::map<std::uint64_t, std::uint64_t> uses_;     // and the other way round
  std::uint64_t use_ = 0;
  std::vector<StateOp> ops_;
};

}  // namespace tandem::scheduler
