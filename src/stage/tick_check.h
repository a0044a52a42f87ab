#pragma once
// What a tick as a whole has to fit; its entries are one by one rules/tick_entry.h's matter.

#include <cstddef>
#include <cstdint>

#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/limits.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// What hidden states have to fit.
struct HiddenRules {
  bool first = true;  // takes ids only; other stages take hidden states
  std::int32_t hidden_size = 0;
  DType hidden_dtype = DType::kF32;
};

/// Limits, no sequence twice, and hidden states with one row of the right size for each token of an
/// entry that is not refused. A gateway that breaks this is broken: kInternal.
Status check_tick(const Tick& tick, const Hidden& in, const HiddenRules& rules);

/// Tokens of the entries that are not refused.
std::size_t rows_of(const Tick& tick);

}  // namespace tandem::stage
