#include "scheduler/engine_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/check.h"

namespace tandem::scheduler {
namespace {

Error too_many_candidates(std::uint64_t tick) {
  return {ErrorCode::kInternal,
          fmt::format("the last stage listed more candidates than tick {} asked for", tick)};
}

}  // namespace

Error Engine::State::die(Error error) {
  dead = error;
  return error;
}

/// First come, first served, as far as KV memory and the limit of sequences allow. Kept sequences
/// make room for live ones.
void Engine::State::admit() {
  while (!waiting.empty() && live.size() < static_cast<std::size_t>(options.sequences_max)) {
    Sequence& first = waiting.front();
    while (reserved + first.reserved > capacity && kept.size() > 0) drop_oldest_kept();
    if (!live.empty() && reserved + first.reserved > capacity) return;
    use_prefix(first);
    reserved += first.reserved;
    const std::uint64_t id = first.id;
    live.emplace(id, std::move(first));
    waiting.pop_front();
  }
}

/// Takes over the KV of a kept sequence that begins like the prompt. Scored prompts compute all of
/// theirs: KV holds no probabilities.
void Engine::State::use_prefix(Sequence& sequence) {
  if (sequence.request.score) return;
  const auto match = kept.best(sequence.request.prompt, sequence.request.cache_salt);
  if (!match) return;
  const auto source = kept.take(match->id);
  if (!source) return;
  reserved -= source->reserved;
  sequence.prefix_source = match->id;
  sequence.submitted = match->length;
  sequence.returned = match->length;
  sequence.reused = match->length;
  ++stats.prefix_hits;
  stats.prefix_tokens += match->length;
}

void Engine::State::drop_oldest_kept() {
  const auto oldest = kept.take_oldest();
  if (!oldest) return;
  reserved -= oldest->reserved;
  frees.push_back(oldest->id);
}

/// Forgets a live sequence.
void Engine::State::retire(std::uint64_t id, Leave leave) {
  const auto found = live.find(id);
  check(found != live.end(), "retired sequence is live");
  Sequence& sequence = found->second;
  reserved -= sequence.reserved;
  const bool known = sequence.last_tick > 0;  // to the stages
  if (!known && sequence.prefix_source != 0) frees.push_back(sequence.prefix_source);
  const std::uint32_t cached = sequence.cached();
  if (known && leave == Leave::kKeep && sequence.request.keep && options.kept_max > 0) {
    sequence.tokens.resize(cached);
    reserved += whole_pages(cached);
    kept.add({id, std::move(sequence.tokens), whole_pages(cached), sequence.request.cache_salt});
    if (kept.size() > static_cast<std::size_t>(options.kept_max)) drop_oldest_kept();
  } else if (known) {
    frees.push_back(id);
  }
  live.erase(found);
}

/// What has to happen to the caches before a sequence's first entry.
void Engine::State::add_kv_ops(Sequence& sequence, Tick& tick, Flight& flight) {
  if (sequence.last_tick > 0 || sequence.prefix_source == 0) return;
  tick.kv_ops.push_back({.kind = KvOp::Kind::kCopyPrefix,
                         .sequence = sequence.id,
                         .source = sequence.prefix_source,
                         .length = sequence.submitted});
  tick.kv_ops.push_back({.kind = KvOp::Kind::kFree, .sequence = sequence.prefix_source});
  flight.frees.push_back(sequence.prefix_source);
}

/// Submits ticks until the pipeline is full or nothing is ready.
Status Engine::State::fill() {
  for (;;) {
    admit();
    PlanState state;
    state.stages = pipeline.stages();
    state.in_flight = static_cast<int>(flights.size());
    state.rows_max = rows_max;
    state.prefill_step_size = static_cast<std::uint32_t>(options.prefill_step_size);
    for (const auto& [id, sequence] : live) state.sequences.push_back(sequence.view());
    auto entries = plan(state);
    if (!entries) return {};
    Tick tick;
    tick.number = next_tick++;
    Flight flight{tick.number, std::move(*entries), std::exchange(frees, {}), {}};
    for (const std::uint64_t id : flight.frees) {
      tick.kv_ops.push_back({.kind = KvOp::Kind::kFree, .sequence = id});
    }
    for (const PlannedEntry& planned : flight.entries) {
      Sequence& sequence = live.at(planned.sequence);
      add_kv_ops(sequence, tick, flight);
      tick.entries.push_back(sequence.entry(planned));
      if (const TickEntry& entry = tick.entries.back(); entry.score) {
        // A sequence's first token has no score.
        flight.scores.push_back({entry.sequence, std::max<std::uint32_t>(entry.position, 1),
                                 entry.position + planned.count});
      }
      sequence.submit(planned, tick.number);
    }
    ++stats.ticks;
    flights.push_back(std::move(flight));
    if (auto status = pipeline.submit(std::move(tick)); !status.ok()) return status;
  }
}

/// Results come from other processes: nothing of them is taken on trust.
Status Engine::State::check_result(const TickResult& result, const Flight& flight) const {
  if (result.number != flight.number) {
    return Error{ErrorCode::kInternal,
                 fmt::format("the last stage answered tick {} where {} was due", result.number,
                             flight.number)};
  }
  if (auto status = check_sampled(result, flight); !status.ok()) return status;
  return check_scores(result, flight);
}

Status Engine::State::check_sampled(const TickResult& result, const Flight& flight) const {
  std::size_t next = 0;
  for (const PlannedEntry& entry : flight.entries) {
    if (!entry.sample) continue;
    if (next >= result.sampled.size() || result.sampled[next].sequence != entry.sequence) {
      return Error{ErrorCode::kInternal,
                   fmt::format("the last stage drew no token for sequence {} in tick {}",
                               entry.sequence, flight.number)};
    }
    const SampledToken& token = result.sampled[next++];
    const std::int32_t id = token.id;
    const auto found = live.find(entry.sequence);
    if (found != live.end() && token.top.size() > found->second.request.top_logprobs) {
      return too_many_candidates(flight.number);
    }
    if (id < 0 || id >= vocabulary) {
      return Error{ErrorCode::kInternal,
                   fmt::format("the last stage drew token {} outside the vocabulary in tick {}", id,
                               flight.number)};
    }
  }
  if (next == result.sampled.size()) return {};
  return Error{
      ErrorCode::kInternal,
      fmt::format("the last stage drew more tokens than tick {} asked for", flight.number)};
}

/// Every scored token once, in order, and the ids that were asked about. A sequence that was
/// cancelled meanwhile is known no more; its scores are dropped anyway.
Status Engine::State::check_scores(const TickResult& result, const Flight& flight) const {
  std::size_t next = 0;
  for (const ExpectedScores& expected : flight.scores) {
    const auto found = live.find(expected.sequence);
    for (std::uint32_t position = expected.first; position < expected.end; ++position, ++next) {
      if (next >= result.scores.size() || result.scores[next].sequence != expected.sequence ||
          result.scores[next].position != position) {
        return Error{ErrorCode::kInternal,
                     fmt::format("the last stage did not score position {} of sequence {} in its "
                                 "place in tick {}",
                                 position, expected.sequence, flight.number)};
      }
      if (found == live.end()) continue;
      const TokenScore& score = result.scores[next];
      if (score.id != found->second.tokens[position]) {
        return Error{
            ErrorCode::kInternal,
            fmt::format("the last stage scored token {} at position {} in tick {}, not {}",
                        score.id, position, flight.number, found->second.tokens[position])};
      }
      if (score.top.size() > found->second.request.top_logprobs) {
        return too_many_candidates(flight.number);
      }
    }
  }
  if (next == result.scores.size()) return {};
  return Error{
      ErrorCode::kInternal,
      fmt::format("the last stage scored more tokens than tick {} asked for", flight.number)};
}

/// Applies one entry's outcome to its sequence.
Event Engine::State::advance(Sequence& sequence, const PlannedEntry& entry,
                             const SampledToken* token) {
  Event event;
  event.sequence = sequence.id;
  if (entry.decode) {
    sequence.decode_in_flight = false;
  } else {
    sequence.returned += entry.count;
    stats.prompt_tokens += entry.count;
  }
  event.prompt_done = sequence.returned;
  event.cached = sequence.reused;
  const Request& request = sequence.request;
  if (token == nullptr) {
    const bool scored = sequence.returned == sequence.prompt() && request.max_tokens == 0;
    if (scored) event.finish = FinishReason::kLength;
    return event;
  }
  sequence.tokens.push_back(token->id);
  event.token = *token;
  ++stats.generated_tokens;
  if (request.constraint) {
    if (auto status = request.constraint->accept(token->id); !status.ok()) {
      event.token.reset();
      event.finish = FinishReason::kError;
      event.error = status.error();
      return event;
    }
  }
  if (std::binary_search(request.stop_ids.begin(), request.stop_ids.end(), token->id) ||
      (request.constraint && request.constraint->complete())) {
    event.finish = FinishReason::kStop;
  } else if (sequence.drawn() >= static_cast<std::uint32_t>(request.max_tokens) ||
             sequence.tokens.size() >= static_cast<std::size_t>(options.context_max)) {
    event.finish = FinishReason::kLength;
  }
  return event;
}

Result<std::vector<Event>> Engine::State::commit(const TickResult& result) {
  const Flight flight = std::move(flights.front());
  flights.pop_front();
  if (auto status = check_result(result, flight); !status.ok()) return die(status.error());
  std::vector<Event> events;
  auto sampled = result.sampled.begin();
  for (const PlannedEntry& entry : flight.entries) {
    const SampledToken* token = entry.sample ? &*sampled++ : nullptr;
    const auto found = live.find(entry.sequence);
    if (found == live.end()) continue;  // cancelled while this tick was on its way
    Event event = advance(found->second, entry, token);
    for (const TokenScore& score : result.scores) {
      if (score.sequence == entry.sequence) event.scores.push_back(score);
    }
    if (event.finish != FinishReason::kNone) retire(entry.sequence, Leave::kKeep);
    events.push_back(std::move(event));
  }
  return events;
}

/// The stages are in an unknown state for this tick's sequences: they end. A refused tick may not
/// have applied its frees, and freeing twice is harmless, so they are sent again.
std::vector<Event> Engine::State::refuse(const Error& error) {
  const Flight flight = std::move(flights.front());
  flights.pop_front();
  frees.insert(frees.end(), flight.frees.begin(), flight.frees.end());
  std::vector<Event> events;
  for (const PlannedEntry& entry : flight.entries) {
    if (const auto gone = kept.take(entry.sequence)) {
      reserved -= gone->reserved;
      frees.push_back(gone->id);
    }
    const auto found = live.find(entry.sequence);
    if (found == live.end()) continue;
    Event event;
    event.sequence = entry.sequence;
    event.prompt_done = found->second.returned;
    event.finish = FinishReason::kError;
    event.error = error;
    retire(entry.sequence, Leave::kFree);
    events.push_back(std::move(event));
  }
  return events;
}

}  // namespace tandem::scheduler
