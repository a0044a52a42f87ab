#pragma once
// What a text that grows token by token takes from the logits of its next token.

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>

#include "tandem/tick.h"

namespace tandem::stage {

/// How often each token occurs in the last part of a text, kept up as the text grows.
class TokenCounts {
 public:
  /// Counts text[begin, end of text), where `begin` never goes back while the text only grows.
  void update(std::span<const std::int32_t> text, std::size_t begin);
  void reset() { *this = TokenCounts(); }

  const std::unordered_map<std::int32_t, int>& counts() const { return counts_; }

 private:
  void add(std::span<const std::int32_t> tokens, int change);

  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::unordered_map<std::int32_t, int> counts_;
};

/// The penalties of one sequence. A plain value.
class Penalties {
 public:
  /// Adds logit_bias, then repetition, presence and frequency penalties. `text` is all of the
  /// sequence so far: that of the call before with more at its end, or reset() comes first. Its
  /// first `prompt` tokens were given, the others generated.
  void apply(std::span<float> logits, const SamplingParams& params,
             std::span<const std::int32_t> text, std::size_t prompt);
  /// The text changed in another way than growing.
  void reset();

 private:
  TokenCounts repetition_;
  TokenCounts presence_;
  TokenCounts frequency_;
};

}  // namespace tandem::stage
