// What an engine does after a tick: tokens into the log, events out, ended sequences away.

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "scheduler/engine_state.h"

namespace tandem::scheduler {
namespace {

/// Ticks that stages may refuse in a row before a sequence in them ends. The second one has it
/// alone, so that no one ends for the mistake of another.
constexpr int kRefusalsMax = 2;

}  // namespace

Error Engine::State::die(Error error) {
  dead = error;
  return error;
}

Event Engine::State::event_of(const Sequence& sequence) const {
  Event event;
  event.sequence = sequence.id;
  event.prompt_done = sequence.prompt_done;
  event.cached = sequence.cached;
  return event;
}

/// What a sequence has computed may serve others from now on.
void Engine::State::stop_running(Sequences::iterator sequence) {
  by_kv.erase(sequence->second.kv);
  memory.end(sequence->second.kv, sequence->second.tokens);
}

/// Forgets a running sequence.
void Engine::State::retire(Sequence& sequence) {
  const auto found = running.find(sequence.rank());
  check(found != running.end(), "a retired sequence runs");
  stop_running(found);
  running.erase(found);
}

void Engine::State::take_token(Sequence& sequence, const SampledToken& token, Event& event) {
  const Request& request = sequence.request;
  if (request.constraint) {
    if (auto status = request.constraint->accept(token.id); !status.ok()) {
      event.finish = FinishReason::kError;
      event.error = status.error();
      return;
    }
  }
  sequence.tokens.push_back(token.id);
  event.token = token;
  event.token->sequence = sequence.id;
  ++stats.generated_tokens;
  if (std::binary_search(request.stop_ids.begin(), request.stop_ids.end(), token.id) ||
      (request.constraint && request.constraint->complete())) {
    event.finish = FinishReason::kStop;
  } else if (sequence.drawn() >= static_cast<std::uint32_t>(request.max_tokens) ||
             sequence.tokens.size() >= length_max()) {
    event.finish = FinishReason::kLength;
  }
}

/// Applies one entry's outcome to its sequence.
Event Engine::State::advance(Sequence& sequence, const FlightEntry& entry,
                             const SampledToken* token) {
  sequence.returned += entry.planned.count;
  const std::uint32_t done = std::min(sequence.returned, sequence.prompt());
  if (token != nullptr || done > sequence.prompt_done) sequence.got_further();
  sequence.prompt_done = std::max(sequence.prompt_done, done);
  if (!entry.planned.decode) stats.prompt_tokens += entry.planned.count;
  Event event = event_of(sequence);
  if (token != nullptr) {
    take_token(sequence, *token, event);
  } else if (sequence.request.max_tokens == 0 && sequence.returned == sequence.prompt()) {
    event.finish = FinishReason::kLength;
  }
  return event;
}

/// From submission to result: what a stream's next token takes.
void Engine::State::measure(const Flight& flight) {
  const std::chrono::duration<double> took = options.now() - flight.submitted;
  if (const auto expected = times.cost().predict(flight.load)) {
    stats.timed_seconds += took.count();
    stats.expected_seconds += *expected;
  }
  times.observe(flight.load, took.count());
}

Status Engine::State::commit(const TickResult& result) {
  const Flight flight = std::move(flights.front());
  flights.pop_front();
  if (auto status = check_result(result, flight, limits.vocabulary); !status.ok()) return status;
  measure(flight);
  auto sampled = result.sampled.begin();
  auto scores = result.scores.begin();
  for (const FlightEntry& entry : flight.entries) {
    const SampledToken* token = entry.planned.sample ? &*sampled++ : nullptr;
    const auto first = std::exchange(scores, scores + std::ssize(entry.scored));
    const auto found = by_kv.find(entry.planned.sequence);
    if (found == by_kv.end()) continue;  // it ended or lost its KV while this tick was on its way
    Sequence& sequence = *found->second;
    Event event = advance(sequence, entry, token);
    event.submitted = flight.submitted;
    for (auto score = first; score != scores; ++score) {
      if (score->position < sequence.scored || score->position >= sequence.prompt()) continue;
      event.scores.push_back(*score);
      event.scores.back().sequence = sequence.id;
      sequence.scored = score->position + 1;
    }
    if (event.finish != FinishReason::kNone) retire(sequence);
    events.push_back(std::move(event));
  }
  return {};
}

/// The stages are in an unknown state for the sequences of this tick: whatever they hold of them is
/// freed, and they are computed again, or end if that was tried before.
void Engine::State::refuse(const Error& error) {
  const Flight flight = std::move(flights.front());
  flights.pop_front();
  for (const FlightEntry& entry : flight.entries) {
    if (const auto found = by_kv.find(entry.planned.sequence); found != by_kv.end()) {
      ++found->second->refusals;
    }
  }
  const auto lost = [&](std::uint64_t kv) {
    memory.drop(kv);
    const auto found = by_kv.find(kv);
    if (found == by_kv.end()) return;
    Sequence& sequence = *found->second;
    by_kv.erase(found);
    if (sequence.refusals < kRefusalsMax) {
      sequence.lose_kv(next_id++);
      waiting.insert(running.extract(sequence.rank()));
      return;
    }
    Event event = event_of(sequence);
    event.finish = FinishReason::kError;
    event.error = error;
    events.push_back(std::move(event));
    running.erase(sequence.rank());
  };
  for (const FlightEntry& entry : flight.entries) lost(entry.planned.sequence);
  for (const StateOp& op : flight.ops) lost(op.sequence);
}

}  // namespace tandem::scheduler
