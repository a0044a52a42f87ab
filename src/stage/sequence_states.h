#pragma once
// What the last stage knows of each sequence besides its KV.

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "tandem/tick.h"

namespace tandem::stage {

struct SequenceState {
  SamplingParams sampling;
  std::vector<std::int32_t> tokens;  // all that are cached, for penalties
  /// Logits after the last token of a scored entry; they score the first token of the next.
  std::vector<float> last_row;
};

/// Follows the cache: call only with ticks that the cache has accepted.
class SequenceStates {
 public:
  /// The tick's state operations, then its entries' tokens and parameters.
  void apply(const Tick& tick);
  /// A sequence of the tick that was applied last.
  SequenceState& at(std::uint64_t sequence) { return states_.at(sequence); }
  std::size_t size() const { return states_.size(); }

 private:
  void apply(const StateOp& op);
  std::map<std::uint64_t, SequenceState> states_;
};

}  // namespace tandem::stage
