#pragma once
// How much KV a stage keeps when nobody says.

#include <algorithm>
#include <cstdint>

namespace tandem::stage {

/// Bytes of KV for a stage that may use `memory` bytes (what was free before it loaded, or its
/// share of that) and holds `weight_bytes`: what the weights leave of 80 %. A model that fills the
/// memory may still run from its file; it gets 5 %.
inline std::uint64_t default_kv_bytes(std::uint64_t memory, std::uint64_t weight_bytes) {
  const std::uint64_t usable = memory / 5 * 4;
  return std::max(memory / 20, usable - std::min(usable, weight_bytes));
}

}  // namespace tandem::stage
