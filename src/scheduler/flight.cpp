#include "scheduler/flight.h"

#include <fmt/format.h>

#include <string>
#include <utility>

namespace tandem::scheduler {
namespace {

Status wrong(std::string message) { return Error{ErrorCode::kInternal, std::move(message)}; }

Status check_token(const TokenResult& token, const Due& due, std::uint64_t tick,
                   std::int32_t vocabulary) {
  if (token.top.size() > due.top_logprobs) {
    return wrong(fmt::format("the last stage listed more candidates than tick {} asked for", tick));
  }
  if (due.kind == Want::Kind::kScore && token.id != due.token) {
    return wrong(fmt::format("the last stage scored token {} at position {} in tick {}, not {}",
                             token.id, due.position, tick, due.token));
  }
  if (token.id < 0 || token.id >= vocabulary) {
    return wrong(fmt::format("the last stage drew token {} outside the vocabulary in tick {}",
                             token.id, tick));
  }
  return {};
}

Status check_entry(const EntryResult& result, const FlightEntry& entry, std::uint64_t tick,
                   std::int32_t vocabulary) {
  if (result.sequence != entry.planned.sequence) {
    return wrong(fmt::format("the last stage answered for sequence {} where {} was due in tick {}",
                             result.sequence, entry.planned.sequence, tick));
  }
  if (result.error) {
    if (result.tokens.empty()) return {};
    return wrong(fmt::format("the last stage gave sequence {} tokens and an error in tick {}",
                             result.sequence, tick));
  }
  if (result.tokens.size() != entry.due.size()) {
    return wrong(fmt::format("the last stage gave {} tokens for sequence {} in tick {}, not {}",
                             result.tokens.size(), result.sequence, tick, entry.due.size()));
  }
  for (std::size_t i = 0; i < entry.due.size(); ++i) {
    auto status = check_token(result.tokens[i], entry.due[i], tick, vocabulary);
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace

FlightEntry flight_entry(const PlannedEntry& planned, const TickEntry& entry) {
  FlightEntry out{.planned = planned};
  for (const Want& want : entry.wants) {
    out.due.push_back({want.kind, entry.position + want.row + 1, want.token, want.top_logprobs});
  }
  return out;
}

Status check_result(const TickResult& result, const Flight& flight, std::int32_t vocabulary) {
  if (result.number != flight.number) {
    return wrong(fmt::format("the last stage answered tick {} where {} was due", result.number,
                             flight.number));
  }
  if (result.entries.size() != flight.entries.size()) {
    return wrong(fmt::format("the last stage answered for {} entries of tick {}, not {}",
                             result.entries.size(), flight.number, flight.entries.size()));
  }
  for (std::size_t i = 0; i < flight.entries.size(); ++i) {
    auto status = check_entry(result.entries[i], flight.entries[i], flight.number, vocabulary);
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace tandem::scheduler
