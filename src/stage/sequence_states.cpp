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
      state.last_row.clear();
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

void SequenceStates::apply(const Tick& tick) {
  for (const StateOp& op : tick.state_ops) apply(op);
  for (const TickEntry& entry : tick.entries) {
    SequenceState& state = states_[entry.sequence];
    state.tokens.insert(state.tokens.end(), entry.tokens.begin(), entry.tokens.end());
    if (entry.sampling) state.sampling = *entry.sampling;
  }
}

}  // namespace tandem::stage
