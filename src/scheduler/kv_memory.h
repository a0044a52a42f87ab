#pragma once
// Who holds KV in the stages: running sequences, and idle ones whose beginnings may serve again.

#include <cstddef>
#include <cstdint>
#include <functional>
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

/// Names of snapshots, which no caller gives to a sequence.
inline constexpr std::uint64_t kSnapshotIds = 1ULL << 63;

struct KvLimits {
  KvShape shape;
  bool sharing = true;                                                   // see KvBook
  std::uint64_t idle_bytes = std::numeric_limits<std::uint64_t>::max();  // used by idle ones only
};

/// Every change is an operation for the next tick, whose entries come after all of them. Idle
/// sequences give way, the longest unused first and from their ends, whenever a running one needs a
/// page.
/// Where pages behind a window are let go, a sequence serves others near its end only. So a
/// beginning that others share is kept as an idle sequence of its own, a snapshot, just before the
/// running one moves on from it: the end of its prompt, where an earlier prompt parted from it, and
/// what a waiting prompt shares. A plain value.
class KvMemory {
 public:
  explicit KvMemory(KvLimits limits);

  /// Where a prompt's beginning is computed already.
  struct Match {
    std::uint64_t source = 0;  // 0: nowhere
    std::uint32_t length = 0;
    std::uint64_t coming = 0;         // a running sequence before `rank` that is about to compute
    std::uint32_t coming_length = 0;  // so much of it; 0: none
    bool soon() const { return coming != 0; }
  };
  /// At least one token of the prompt is left to compute.
  Match match(std::uint64_t salt, std::span<const std::int32_t> prompt,
              const QueuePosition& rank) const;

  /// A sequence begins to run, with what the match offers. Its `tokens` can be matched as far as
  /// they are computed.
  void begin(std::uint64_t id, std::uint64_t salt, std::span<const std::int32_t> tokens,
             const QueuePosition& rank, const Match& match);
  /// What is coming is going to be kept for whoever waits for it.
  void wait_for(const Match& match);
  /// Tokens after which a running sequence has to end a tick, for what is to be kept there; 0:
  /// none.
  std::uint32_t tokens_to_stop(std::uint64_t id) const;
  /// The next tick computes `count` more tokens of a running sequence. The caller has seen to it
  /// that the pages it needs are not pinned.
  void append(std::uint64_t id, std::uint32_t count);
  /// A running sequence stops. What is computed of `tokens`, all of its tokens, may serve others.
  void end(std::uint64_t id, std::span<const std::int32_t> tokens);
  /// Frees whatever the stages hold of that name, running or not.
  void drop(std::uint64_t id);

  /// The next tick is complete: its operations, in order.
  std::vector<StateOp> take_ops();

  const KvBook& book() const { return book_; }
  /// Blocks that no running sequence uses.
  std::uint64_t free_blocks() const { return limits_.shape.blocks_beside(book_.pinned()); }
  /// Whether so many more pages can be had for running sequences.
  bool fits(const PageCounts& more) const { return limits_.shape.fits(book_.pinned() + more); }
  std::size_t idle() const { return idle_.size(); }

 private:
  struct Running {
    std::uint64_t salt = 0;
    std::vector<std::uint32_t> stops;  // lengths to keep a snapshot of, ascending
    std::uint32_t least_at_end = 0;    // book().least() when all its tokens are computed
  };
  void touch(std::uint64_t idle);
  void forget(std::uint64_t idle);
  void set_usable(std::uint64_t id);
  void add_stop(Running& running, std::uint64_t id, std::uint32_t length);
  void keep_snapshots(std::uint64_t id, std::uint32_t count);
  void make_room(const PageCounts& pages);
  void shrink_oldest(const std::function<bool(const PageCounts& held)>& few);
  void keep_limits();

  KvLimits limits_;
  KvBook book_;
  PrefixIndex index_;
  std::map<std::uint64_t, Running> running_;
  std::map<std::uint64_t, std::uint64_t> idle_;  // id -> when it was last used
  std::map<std::uint64_t, std::uint64_t> uses_;  // and the other way round
  std::uint64_t use_ = 0;
  std::uint64_t snapshots_ = kSnapshotIds;  // name of the next one
  std::vector<StateOp> ops_;
};

}  // namespace tandem::scheduler
