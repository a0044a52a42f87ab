#pragma once
// The token log of one request.

#include <cstdint>
#include <vector>

#include "scheduler/engine.h"
#include "scheduler/plan.h"

namespace tandem::scheduler {

/// A request and everything that is known of its progress. `tokens` is the truth from which a lost
/// pipeline's KV can be rebuilt.
struct Sequence {
  std::uint64_t id = 0;
  Request request;
  std::vector<std::int32_t> tokens;  // the prompt, then what was drawn
  std::uint32_t submitted = 0;       // prompt tokens put in a tick
  std::uint32_t returned = 0;        // prompt tokens whose tick came back
  bool decode_in_flight = false;
  std::uint64_t last_tick = 0;
  std::uint64_t reserved = 0;       // tokens of KV set aside
  std::uint32_t reused = 0;         // prompt tokens whose KV there was
  std::uint64_t prefix_source = 0;  // kept sequence whose KV it starts with; 0: none

  std::uint32_t prompt() const { return static_cast<std::uint32_t>(request.prompt.size()); }
  std::uint32_t drawn() const { return static_cast<std::uint32_t>(tokens.size()) - prompt(); }

  /// Tokens whose KV the stages hold once all ticks in flight are done.
  std::uint32_t cached() const {
    if (submitted < prompt() || drawn() == 0) return submitted;
    return static_cast<std::uint32_t>(tokens.size()) - (decode_in_flight ? 0 : 1);
  }

  SequenceView view() const {
    return {.id = id,
            .prompt = prompt(),
            .submitted = submitted,
            .samples = request.max_tokens > 0,
            .scored = request.score,
            .top_logprobs = request.top_logprobs,
            .decode_ready = drawn() > 0 && !decode_in_flight,
            .last_tick = last_tick};
  }

  /// The tick entry of a planned step; nothing changes.
  TickEntry entry(const PlannedEntry& planned) const {
    const std::size_t first = planned.decode ? tokens.size() - 1 : submitted;
    TickEntry out;
    out.sequence = id;
    out.position = static_cast<std::uint32_t>(first);
    out.tokens.assign(tokens.begin() + static_cast<std::ptrdiff_t>(first),
                      tokens.begin() + static_cast<std::ptrdiff_t>(first + planned.count));
    out.sample = planned.sample;
    out.score = request.score && !planned.decode;
    out.top_logprobs = request.top_logprobs;
    if (last_tick == 0) out.sampling = request.sampling;
    return out;
  }

  /// Notes that the planned step is in tick `number`.
  void submit(const PlannedEntry& planned, std::uint64_t number) {
    last_tick = number;
    if (planned.decode) {
      decode_in_flight = true;
    } else {
      submitted += planned.count;
    }
  }
};

}  // namespace tandem::scheduler
