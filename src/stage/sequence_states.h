#pragma once
// What the last stage knows of each sequence besides its KV.

#include <cstdint>
#include <map>
#include <vector>

#include "stage/penalties.h"
#include "tandem/tick.h"

namespace tandem::stage {

struct SequenceState {
  SamplingParams sampling;
  std::uint32_t prompt = 0;          // tokens that were given, not generated
  std::vector<std::int32_t> tokens;  // all that are cached
  Penalties penalties;               // of `tokens`
  std::uint64_t drawn_in = 0;        // the tick that drew last; 0: none
  std::int32_t drawn = 0;            // what it drew
};

/// Follows the cache: call only with what the cache has accepted.
class SequenceStates {
 public:
  void apply(const StateOp& op);
  /// An entry whose first token is `first`.
  void append(const TickEntry& entry, std::int32_t first);
  /// A sequence that is known.
  SequenceState& at(std::uint64_t sequence) { return states_.at(sequence); }
  /// nullptr: none of that name.
  const SequenceState* find(std::uint64_t sequence) const;

 private:
  std::map<std::uint64_t, SequenceState> states_;
};

}  // namespace tandem::stage
