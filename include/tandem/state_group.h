#pragma once
// What stages keep of a sequence, in groups of layers that keep it alike. Both ends count by the
// rules of this file, so that the gateway knows every stage's memory without asking.

#include <algorithm>
#include <cstdint>

#include "tandem/limits.h"

namespace tandem {

/// kPaged: layers whose queries see every token before them. kWindowed: they see the last `window`
/// tokens only, and pages behind these are let go. kRecurrent: they fold every token into a state
/// of one size, which cannot be taken back.
enum class StateKind : std::uint8_t { kPaged, kWindowed, kRecurrent };

/// A sequence can be rewound to, or forked at, any length of at least least_length(), for all its
/// groups. With paged groups only that is 0, with a recurrent one the length that it has. The floor
/// follows the length at this distance: a sequence's own when the tick after its new tokens begins,
/// a fork's at once.
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

/// How layers of a group keep a sequence.
struct StateRule {
  StateKind kind = StateKind::kPaged;
  std::uint32_t window = 0;  // kWindowed: tokens that a query sees, its own among them
  bool operator==(const StateRule&) const = default;

  bool recurrent() const { return kind == StateKind::kRecurrent; }
  /// Places of pages of a sequence of so many tokens, those that were let go among them.
  std::uint64_t places(std::uint64_t tokens) const {
    if (recurrent()) return std::min<std::uint64_t>(tokens, 1);
    return tokens / kPageTokens + (tokens % kPageTokens == 0 ? 0 : 1);
  }
  /// Whether the next token after so many is written into the last page that there is.
  bool writes_last(std::uint32_t tokens) const {
    return recurrent() ? tokens != 0 : tokens % kPageTokens != 0;
  }
  std::uint32_t least_length(std::uint32_t length, std::uint32_t floor) const {
    return recurrent() ? length : tandem::least_length(window, floor);
  }
  std::uint64_t pages_needed(std::uint64_t length) const {
    return recurrent() ? places(length) : tandem::pages_needed(window, length);
  }
};

struct StateGroup {
  StateKind kind = StateKind::kPaged;
  std::uint32_t window = 0;  // see StateRule
  /// Of kPageTokens tokens, in all layers of the group; kRecurrent: of all tokens, its slot.
  std::uint64_t page_bytes = 0;
  bool operator==(const StateGroup&) const = default;

  StateRule rule() const { return {kind, window}; }
};

}  // namespace tandem
