#include "stage/mask.h"

#include <bit>
#include <cstddef>
#include <limits>

namespace tandem::stage {
namespace {

constexpr std::size_t kBits = 32;

/// Calls use(id) for every allowed token, ascending.
template <class Use>
void for_each_allowed(std::span<const std::uint32_t> allowed, Use use) {
  for (std::size_t word = 0; word < allowed.size(); ++word) {
    for (std::uint32_t bits = allowed[word]; bits != 0; bits &= bits - 1) {
      use(word * kBits + static_cast<std::size_t>(std::countr_zero(bits)));
    }
  }
}

}  // namespace

std::int32_t best_allowed(std::span<const float> logits, std::span<const std::uint32_t> allowed) {
  std::size_t best = logits.size();
  for_each_allowed(allowed, [&](std::size_t id) {
    if (best == logits.size() || logits[id] > logits[best]) best = id;
  });
  return static_cast<std::int32_t>(best);
}

std::vector<float> keep_allowed(std::span<const float> logits,
                                std::span<const std::uint32_t> allowed) {
  std::vector<float> kept(logits.size(), -std::numeric_limits<float>::infinity());
  for_each_allowed(allowed, [&](std::size_t id) { kept[id] = logits[id]; });
  return kept;
}

}  // namespace tandem::stage
