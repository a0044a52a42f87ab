#pragma once
// Refuses a tick that does not fit the stage before anything changes.

#include <cstdint>

#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/limits.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// What a tick has to fit.
struct TickRules {
  bool first = true;  // takes ids only; other stages take hidden states
  std::int32_t vocabulary = 0;
  std::int32_t context_max = 0;
  std::int32_t hidden_size = 0;
  DType hidden_dtype = DType::kF32;
};

/// Everything but the KV's own rules: entries by rules/tick_entry.h, limits, and hidden states with
/// one row of the right size a token.
Status check_tick(const Tick& tick, const Hidden& in, const TickRules& rules);

/// Tokens of all entries.
std::size_t rows_of(const Tick& tick);

}  // namespace tandem::stage
