#include "rules/tick_entry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "rules/sampling.h"
#include "tandem/limits.h"

namespace tandem::rules {
namespace {

constexpr std::size_t kMaskBits = 32;

Status check_fields(const TickEntry& entry, const EntryLimits& limits) {
  if (entry.tokens.empty()) return invalid("has no tokens");
  const std::uint64_t end = std::uint64_t{entry.position} + entry.tokens.size();
  if (end > static_cast<std::uint64_t>(limits.context_max)) {
    return invalid(
        fmt::format("{} tokens exceed the model's context of {}", end, limits.context_max));
  }
  if (auto status = check_ids("tokens", entry.tokens, limits.vocabulary); !status.ok()) {
    return status;
  }
  if (entry.top_logprobs > kMaxTopLogprobs) {
    return invalid(
        fmt::format("{} top_logprobs, the limit is {}", entry.top_logprobs, kMaxTopLogprobs));
  }
  if (!entry.allowed.empty()) {
    if (!entry.sample) return invalid("has allowed tokens but draws none");
    auto status = check_mask(entry.allowed, limits.vocabulary);
    if (!status.ok()) return status;
  }
  return entry.sampling ? check_sampling(*entry.sampling, limits.vocabulary) : Status();
}

}  // namespace

Status check_entry(const TickEntry& entry, const EntryLimits& limits) {
  auto status = check_fields(entry, limits);
  if (status.ok()) return status;
  return invalid(fmt::format("sequence {}: {}", entry.sequence, status.error().message));
}

Status check_mask(std::span<const std::uint32_t> allowed, std::int32_t vocabulary) {
  const auto tokens = static_cast<std::size_t>(vocabulary);
  const std::size_t words = (tokens + kMaskBits - 1) / kMaskBits;
  if (allowed.size() != words) {
    return invalid(fmt::format("{} words of allowed tokens, a vocabulary of {} needs {}",
                               allowed.size(), vocabulary, words));
  }
  const std::size_t rest = tokens % kMaskBits;
  if (rest != 0 && (allowed.back() >> rest) != 0) {
    return invalid(fmt::format("an allowed token is not in the vocabulary of {}", vocabulary));
  }
  const bool any = std::any_of(allowed.begin(), allowed.end(), [](auto word) { return word != 0; });
  return any ? Status() : invalid("no token is allowed");
}

}  // namespace tandem::rules
