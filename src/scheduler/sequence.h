#pragma once
// The token log of one request.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "scheduler/engine.h"
#include "scheduler/kv_memory.h"
#include "scheduler/tick_plan.h"

namespace tandem::scheduler {

/// A request and everything that is known of its progress. `tokens` is the truth from which lost KV
/// can be rebuilt; what is said of ticks and KV starts anew when it is.
struct Sequence {
  std::uint64_t id = 0;
  Request request;
  std::vector<std::int32_t> tokens;  // the prompt, then what was drawn

  std::uint64_t kv = 0;         // its name in the stages; another one each time it is rebuilt
  std::uint32_t submitted = 0;  // tokens that the stages have, or are sent
  std::uint32_t returned = 0;   // tokens whose tick came back
  std::uint64_t last_tick = 0;  // number of the last tick it took part in; 0: none
  bool scoring = false;         // the prompt's rows have results
  bool replays = false;         // its stages failed: a stream stands until it is computed again
  std::int64_t passed = 0;      // see PromptQueue::Prompt

  std::uint32_t prompt_done = 0;  // reported of the prompt
  std::uint32_t scored = 0;       // positions of the prompt whose score was reported
  std::uint32_t cached = 0;       // prompt tokens whose KV was there at first
  int losses = 0;                 // of its state in the stages, since it last got further
  int suspicions = 0;  // pipelines that failed with it on its way, since it last got further
  int outages = 0;     // pipelines that failed with it for a reason from outside, likewise

  std::uint32_t prompt() const { return static_cast<std::uint32_t>(request.prompt.size()); }
  std::uint32_t total() const { return static_cast<std::uint32_t>(tokens.size()); }
  std::uint32_t drawn() const { return total() - prompt(); }
  QueuePosition rank() const { return {request.priority, id}; }

  /// Nothing that happened before is held against it.
  void got_further() {
    losses = 0;
    suspicions = 0;
    outages = 0;
  }

  /// Back to nothing but the log, to be rebuilt as `name`.
  void lose_kv(std::uint64_t name) {
    kv = name;
    submitted = 0;
    returned = 0;
    last_tick = 0;
    passed = 0;
    replays = false;
    scoring = request.score && scored < prompt();
  }

  /// Bytes of its next entry in a frame, besides the tokens: an upper bound.
  std::uint64_t entry_bytes(std::int32_t vocabulary) const {
    constexpr std::uint64_t kFields = 96;       // ids, numbers and their tags, a draw's too
    constexpr std::uint64_t kSampling = 192;    // the parameters that are numbers
    constexpr std::uint64_t kListedToken = 24;  // a token id, with its bias
    std::uint64_t bytes = kFields;
    if (request.constraint) bytes += (static_cast<std::uint64_t>(vocabulary) + 31) / 32 * 4;
    if (last_tick > 0) return bytes;
    const SamplingParams& sampling = request.sampling;
    return bytes + kSampling +
           kListedToken * (sampling.logit_bias.size() + sampling.xtc_special_tokens.size());
  }

  SequenceView view(std::int32_t vocabulary, bool copies_page) const {
    return {.id = kv,
            .total = total(),
            .submitted = submitted,
            .answering = drawn() > 0,
            .samples = request.max_tokens > 0,
            .scored = scoring,
            .alone = suspicions > 0,
            .copies_page = copies_page,
            .top_logprobs = request.top_logprobs,
            .entry_bytes = entry_bytes(vocabulary),
            .last_tick = last_tick,
            .priority = request.priority,
            .passed = passed};
  }

  /// The tick entry of a planned step; nothing changes.
  TickEntry entry(const PlannedEntry& planned) const {
    const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(submitted);
    TickEntry out;
    out.sequence = kv;
    out.position = submitted;
    out.tokens.assign(first, first + static_cast<std::ptrdiff_t>(planned.count));
    for (std::uint32_t row = 0; scoring && row < planned.count; ++row) {
      const std::uint32_t next = submitted + row + 1;
      if (next < prompt()) {
        out.wants.push_back({Want::Kind::kScore, row, tokens[next], request.top_logprobs});
      }
    }
    if (planned.sample) {
      out.wants.push_back({Want::Kind::kDraw, planned.count - 1, 0, request.top_logprobs});
    }
    if (last_tick == 0) {
      out.sampling = request.sampling;
      out.prompt = prompt();
    }
    return out;
  }

  /// Notes that the planned step is in tick `number`.
  void submit(const PlannedEntry& planned, std::uint64_t number) {
    last_tick = number;
    submitted += planned.count;
  }
};

}  // namespace tandem::scheduler
