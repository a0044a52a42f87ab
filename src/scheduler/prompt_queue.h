#pragma once
// Whose prompt is computed next: shortest first, with a debt to those that were there before.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace tandem::scheduler {

/// Prompt tokens of later ones that a prompt lets pass before it goes first, beyond as many as were
/// computed of its own.
inline constexpr std::int64_t kPatience = 512;

/// The prompts that compete for one tick. Of one priority, whoever has the fewest tokens left goes
/// first, as that keeps the mean wait shortest; but a prompt that owes nothing any more, since
/// kPatience tokens more of those behind it were computed than of itself, goes before all of them.
/// So a prompt begins after the tokens of those before it in order and kPatience more (and those
/// that share a tick), and ends after as many more as it has itself. A plain value.
class PromptQueue {
 public:
  struct Prompt {
    std::size_t index = 0;      // of the caller's
    std::int64_t priority = 0;  // lower is served first
    std::uint32_t pending = 0;  // tokens to compute, at least 1
    std::int64_t passed = 0;    // tokens of those behind it that were computed, less its own
    std::uint64_t pages = 0;    // of KV that it takes to its end
  };
  struct Turn {
    std::size_t index = 0;
    std::uint64_t kept_pages = 0;  // which those before it in order still need
  };

  /// In order of service: by priority, then by arrival.
  void add(const Prompt& prompt) { prompts_.push_back({prompt, false}); }
  /// Who goes next; each prompt once.
  std::optional<Turn> next();
  /// The last turn took so much.
  void took(std::uint32_t tokens, std::uint64_t pages);

 private:
  struct Place {
    Prompt prompt;
    bool served = false;
  };
  std::vector<Place> prompts_;
  std::size_t turn_ = 0;
};

}  // namespace tandem::scheduler
