#pragma once
// What an entry of a tick has to fit. The gateway runs it before it sends, a stage on arrival.

#include <cstdint>
#include <span>

#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::rules {

/// Of the model.
struct EntryLimits {
  std::int32_t vocabulary = 0;
  std::int32_t context_max = 0;  // tokens
};

/// Ids in the vocabulary, positions within the context, wants in their order and of rows that there
/// are, masks, numbers of candidates, sampling parameters. Errors are kInvalidArgument and name the
/// sequence and the field.
Status check_entry(const TickEntry& entry, const EntryLimits& limits);

/// As many words as the vocabulary needs, at least one bit, none beyond the vocabulary.
Status check_mask(std::span<const std::uint32_t> allowed, std::int32_t vocabulary);

}  // namespace tandem::rules
