#include "scheduler/flight.h"

#include <fmt/format.h>

#include <string>
#include <utility>

namespace tandem::scheduler {
namespace {

Status wrong(std::string message) { return Error{ErrorCode::kInternal, std::move(message)}; }

Status too_many_candidates(std::uint64_t tick) {
  return wrong(fmt::format("the last stage listed more candidates than tick {} asked for", tick));
}

Status check_sampled(const TickResult& result, const Flight& flight, std::int32_t vocabulary) {
  std::size_t next = 0;
  for (const FlightEntry& entry : flight.entries) {
    if (!entry.planned.sample) continue;
    const std::uint64_t sequence = entry.planned.sequence;
    if (next >= result.sampled.size() || result.sampled[next].sequence != sequence) {
      return wrong(fmt::format("the last stage drew no token for sequence {} in tick {}", sequence,
                               flight.number));
    }
    const SampledToken& token = result.sampled[next++];
    if (token.top.size() > entry.top_logprobs) return too_many_candidates(flight.number);
    if (token.id < 0 || token.id >= vocabulary) {
      return wrong(fmt::format("the last stage drew token {} outside the vocabulary in tick {}",
                               token.id, flight.number));
    }
  }
  if (next == result.sampled.size()) return {};
  return wrong(
      fmt::format("the last stage drew more tokens than tick {} asked for", flight.number));
}

Status check_scores(const TickResult& result, const Flight& flight) {
  std::size_t next = 0;
  for (const FlightEntry& entry : flight.entries) {
    std::uint32_t position = entry.first_score;
    for (const std::int32_t id : entry.scored) {
      if (next >= result.scores.size() || result.scores[next].position != position ||
          result.scores[next].sequence != entry.planned.sequence) {
        return wrong(fmt::format(
            "the last stage did not score position {} of sequence {} in its place in tick {}",
            position, entry.planned.sequence, flight.number));
      }
      const TokenScore& score = result.scores[next++];
      if (score.id != id) {
        return wrong(fmt::format("the last stage scored token {} at position {} in tick {}, not {}",
                                 score.id, position, flight.number, id));
      }
      if (score.top.size() > entry.top_logprobs) return too_many_candidates(flight.number);
      ++position;
    }
  }
  if (next == result.scores.size()) return {};
  return wrong(
      fmt::format("the last stage scored more tokens than tick {} asked for", flight.number));
}

}  // namespace

Status check_result(const TickResult& result, const Flight& flight, std::int32_t vocabulary) {
  if (result.number != flight.number) {
    return wrong(fmt::format("the last stage answered tick {} where {} was due", result.number,
                             flight.number));
  }
  if (auto status = check_sampled(result, flight, vocabulary); !status.ok()) return status;
  return check_scores(result, flight);
}

}  // namespace tandem::scheduler
