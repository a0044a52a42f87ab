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

/// Rows of the hidden states that came which belong to admitted entries, in order: those of an
/// entry that this stage refuses are left out.
std::vector<std::int32_t> admitted_rows(const Tick& tick, const Admission& admission);

/// The error, with the layers of the stage that it is of.
Error of_layers(LayerRange layers, const Error& error);
/// Names the stage in the errors of admitted entries.
void name_errors(LayerRange layers, const Admission& admission, TickResult& result);

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

/// What a stage of these layers admits of a tick; refusals name the stage. `states` are used by the
/// last stage only.
Admission admit(const StageInfo& info, const Tick& tick, cache::KvCache& cache,
                SequenceStates& states);

}  // namespace tandem::stage
