#pragma once
// Sequences that ended and whose KV stays, for a request that begins like them.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace tandem::scheduler {

/// A plain list, oldest first. Knows ids only; who removes an entry frees its KV.
class KeptSequences {
 public:
  struct Kept {
    std::uint64_t id = 0;
    std::vector<std::int32_t> tokens;  // whose KV there is
    std::uint64_t reserved = 0;        // tokens of KV set aside
    std::uint64_t salt = 0;            // only prompts of the same may use it
  };
  struct Match {
    std::uint64_t id = 0;
    std::uint32_t length = 0;  // common tokens, at least 1
  };

  void add(Kept kept) { kept_.push_back(std::move(kept)); }
  /// The longest common beginning with `prompt` that leaves at least one of its tokens to compute;
  /// of equal ones the newest.
  std::optional<Match> best(std::span<const std::int32_t> prompt, std::uint64_t salt = 0) const;
  /// The entry of that id, or nothing.
  std::optional<Kept> take(std::uint64_t id);
  std::optional<Kept> take_oldest();
  std::size_t size() const { return kept_.size(); }

 private:
  std::deque<Kept> kept_;
};

}  // namespace tandem::scheduler
