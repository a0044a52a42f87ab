#pragma once
// What stages keep of a sequence, in groups of layers that keep it alike. Both ends count by the
// rules of this file, so that the gateway knows every stage's memory without asking.

#include <algorithm>
#include <cstdint>

#include "tandem/limits.h"

namespace tandem {

/// kPaged: layers whose queries see every token before them. kWindowed: they see the last `window`
/// tokens only, and pages behind these are let go.
enum class StateKind : std::uint8_t { kPaged, kWindowed };

struct StateGroup {
  StateKind kind = StateKind::kPaged;
  std::uint32_t window = 0;      // kWindowed: tokens that a query sees, its own among them
  std::uint64_t page_bytes = 0;  // of kPageTokens tokens, in all layers of the group
  bool operator==(const StateGroup&) const = default;
};

/// A sequence can be rewound to, or forked at, any length of at least least_length(floor), for all
/// its groups. With paged groups only that is 0. The floor follows the length at this distance: a
/// sequence's own when the tick after its new tokens begins, a fork's at once.
inline constexpr std::uint32_t kRewindTokens = 64;

inline std::uint32_t floor_of(std::uint32_t length) {
  return length < kRewindTokens ? 0 : length - kRewindTokens;
}

/// The first page of a group with that `window` (0: kPaged) that a sequence holds: what queries at
/// positions from `floor` on see.
inline std::uint32_t first_page(std::uint32_t window, std::uint32_t floor) {
  return window == 0 || floor < window ? 0 : (floor - window + 1) / kPageTokens;
}

/// The least length whose next query sees pages from first_page() on only; at most `floor`.
inline std::uint32_t least_length(std::uint32_t window, std::uint32_t floor) {
  const std::uint32_t page = first_page(window, floor);
  return page == 0 ? 0 : page * kPageTokens + window - 1;
}

/// Pages of a group that a sequence of `length` tokens holds at most, when tokens come a page at a
/// time: those that its window and kRewindTokens reach, what is being added, and the cut ends.
inline std::uint64_t pages_needed(std::uint32_t window, std::uint64_t length) {
  const std::uint64_t all = (length + kPageTokens - 1) / kPageTokens;
  if (window == 0) return all;
  const std::uint64_t reach = std::uint64_t{window} + kRewindTokens + kPageTokens;
  return std::min(all, (reach + kPageTokens - 1) / kPageTokens + 1);
}

}  // namespace tandem
