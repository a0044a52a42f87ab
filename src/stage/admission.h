#pragma once
// Which entries of a tick a stage computes: it brings the cache up to the tick, sequence by
// sequence.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/kv_cache.h"
#include "rules/tick_entry.h"
#include "stage/sequence_states.h"
#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// An entry that is computed.
struct Admitted {
  const TickEntry* entry = nullptr;
  std::size_t index = 0;   // of the entry in its tick
  std::int32_t first = 0;  // the id of its first token

  std::size_t count() const { return entry->tokens.size(); }
};

struct Admission {
  std::vector<Admitted> entries;  // in the tick's order
  std::vector<Refusal> refusals;  // of entries that no stage before refused
};

/// Whether a stage can know what was drawn.
enum class Drawn { kKnown, kUnknown };

/// Applies a tick to a stage's cache and, on the last stage, its sequences' states. Whoever is
/// refused, here or by a stage before, has nothing left in either; all others are as if the tick
/// had been without it.
class Admitter {
 public:
  /// `states` is null but on the last stage.
  Admitter(cache::KvCache& cache, SequenceStates* states, rules::EntryLimits limits, Drawn drawn)
      : cache_(cache), states_(states), limits_(limits), drawn_(drawn) {}

  Admission admit(const Tick& tick);

 private:
  Result<std::int32_t> first_token(const Tick& tick, const TickEntry& entry) const;
  bool all_at_once(const Tick& tick);
  void one_by_one(const Tick& tick);
  void note(const StateOp& op);
  void drop(std::uint64_t sequence);

  cache::KvCache& cache_;
  SequenceStates* states_;
  rules::EntryLimits limits_;
  Drawn drawn_;
  Admission admission_;
  std::vector<std::uint64_t> unwanted_;  // sequences of refused entries
};

}  // namespace tandem::stage
