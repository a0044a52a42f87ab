#include "stage/sequence_states.h"

#include <utility>

namespace tandem::stage {

void SequenceStates::apply(const StateOp& op) {
  switch (op.kind) {
    case StateOp::Kind::kFree:
      states_.erase(op.sequence);
      return;
    case StateOp::Kind::kRewind: {
      SequenceState& state = states_.at(op.sequence);
      state.tokens.resize(op.length);
      state.penalties.reset();
      state.drawn_in = 0;
      return;
    }
    case StateOp::Kind::kFork: {
      const auto& source = states_.at(op.source).tokens;
      SequenceState state;
      state.tokens.assign(source.begin(), source.begin() + op.length);
      states_.insert_or_assign(op.sequence, std::move(state));
      return;
    }
  }
}

void SequenceStates::append(const TickEntry& entry, std::int32_t first) {
  SequenceState& state = states_[entry.sequence];
  state.tokens.push_back(first);
  state.tokens.insert(state.tokens.end(), entry.tokens.begin() + 1, entry.tokens.end());
  if (!entry.sampling) return;
  state.sampling = *entry.sampling;
  state.prompt = entry.prompt;
  state.penalties.reset();  // they may look at other parts of the text now
}

const SequenceState* SequenceStates::find(std::uint64_t sequence) const {
  const auto found = states_.find(sequence);
  return found == states_.end() ? nullptr : &found->second;
}

}  // namespace tandem::stage
