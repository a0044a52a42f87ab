#include "rules/tick_entry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "rules/sampling.h"
#include "tandem/limits.h"

namespace tandem::rules {
namespace {

constexpr std::size_t kMaskBits = 32;

Status check_tokens(const TickEntry& entry, const EntryLimits& limits) {
  if (entry.tokens.empty()) return invalid("has no tokens");
  const std::uint64_t end = std::uint64_t{entry.position} + entry.tokens.size();
  if (end > static_cast<std::uint64_t>(limits.context_max)) {
    return invalid(
        fmt::format("{} tokens exceed the model's context of {}", end, limits.context_max));
  }
  std::span<const std::int32_t> ids = entry.tokens;
  if (entry.drawn_in != 0) {
    if (ids.front() != kDrawnToken) {
      return invalid(fmt::format("token id {} stands where a drawn token goes", ids.front()));
    }
    ids = ids.subspan(1);
  }
  return check_ids("tokens", ids, limits.vocabulary);
}

Status check_want(const Want& want, const EntryLimits& limits) {
  if (want.top_logprobs > kMaxTopLogprobs) {
    return invalid(
        fmt::format("{} top_logprobs, the limit is {}", want.top_logprobs, kMaxTopLogprobs));
  }
  if (want.kind == Want::Kind::kDraw) {
    return want.allowed.empty() ? Status() : check_mask(want.allowed, limits.vocabulary);
  }
  if (!want.allowed.empty()) return invalid("a score has allowed tokens");
  return check_ids("scored token", {&want.token, 1}, limits.vocabulary);
}

/// In order of rows, of a row at most a score and then a draw.
Status check_wants(const TickEntry& entry, const EntryLimits& limits) {
  const Want* before = nullptr;
  for (const Want& want : entry.wants) {
    if (want.row >= entry.tokens.size()) {
      return invalid(
          fmt::format("something is wanted of row {}, of {} rows", want.row, entry.tokens.size()));
    }
    if (before != nullptr &&
        std::pair(want.row, want.kind) <= std::pair(before->row, before->kind)) {
      return invalid(fmt::format("what is wanted of row {} is out of order", want.row));
    }
    if (auto status = check_want(want, limits); !status.ok()) return status;
    before = &want;
  }
  return {};
}

Status check_fields(const TickEntry& entry, const EntryLimits& limits) {
  if (auto status = check_tokens(entry, limits); !status.ok()) return status;
  if (auto status = check_wants(entry, limits); !status.ok()) return status;
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
