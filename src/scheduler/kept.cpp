#include "scheduler/kept.h"

#include <algorithm>
#include <utility>

namespace tandem::scheduler {

std::optional<KeptSequences::Match> KeptSequences::best(std::span<const std::int32_t> prompt,
                                                        std::uint64_t salt) const {
  std::optional<Match> best;
  if (prompt.empty()) return best;
  for (const Kept& kept : kept_) {
    if (kept.salt != salt) continue;
    const std::size_t limit = std::min(kept.tokens.size(), prompt.size() - 1);
    const auto end = kept.tokens.begin() + static_cast<std::ptrdiff_t>(limit);
    const auto common = std::mismatch(kept.tokens.begin(), end, prompt.begin()).first;
    const auto length = static_cast<std::uint32_t>(common - kept.tokens.begin());
    if (length > 0 && (!best || length >= best->length)) best = Match{kept.id, length};
  }
  return best;
}

std::optional<KeptSequences::Kept> KeptSequences::take(std::uint64_t id) {
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.id == id; });
  if (found == kept_.end()) return std::nullopt;
  Kept kept = std::move(*found);
  kept_.erase(found);
  return kept;
}

std::optional<KeptSequences::Kept> KeptSequences::take_oldest() {
  if (kept_.empty()) return std::nullopt;
  Kept kept = std::move(kept_.front());
  kept_.pop_front();
  return kept;
}

}  // namespace tandem::scheduler
