// What an engine does after a tick: tokens into the log, events out, ended sequences away.

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "base/check.h"
#include "scheduler/engine_state.h"

namespace tandem::scheduler {
namespace {

/// Times that a sequence may lose its state in the stages without getting further before it ends.
constexpr int kLossesMax = 2;

/// Not of the request's own making: it may be computed again.
bool is_loss(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kResourceLimit;
}

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

void Engine::State::take_token(Sequence& sequence, const TokenResult& token, Event& event) {
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
                             const TokenResult* token) {
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

void Engine::State::take_scores(Sequence& sequence, const FlightEntry& entry,
                                const EntryResult& result, Event& event) {
  for (std::size_t i = 0; i < entry.due.size(); ++i) {
    const Due& due = entry.due[i];
    if (due.kind != Want::Kind::kScore || due.position < sequence.scored) continue;
    event.scores.push_back({due.position, result.tokens[i]});
    sequence.scored = due.position + 1;
  }
}

Status Engine::State::commit(const TickResult& result) {
  const Flight flight = std::move(flights.front());
  flights.pop_front();
  if (auto status = check_result(result, flight, limits.vocabulary); !status.ok()) return status;
  measure(flight);
  for (std::size_t i = 0; i < flight.entries.size(); ++i) {
    const FlightEntry& entry = flight.entries[i];
    const EntryResult& outcome = result.entries[i];
    if (outcome.error) drop_refused(entry.planned.sequence);
    const auto found = by_kv.find(entry.planned.sequence);
    if (found == by_kv.end()) continue;  // it ended or lost its KV while this tick was on its way
    Sequence& sequence = *found->second;
    if (outcome.error) {
      refuse(sequence, *outcome.error, flight);
      continue;
    }
    const TokenResult* token = entry.planned.sample ? &outcome.tokens.back() : nullptr;
    Event event = advance(sequence, entry, token);
    event.submitted = flight.submitted;
    take_scores(sequence, entry, outcome, event);
    if (event.finish != FinishReason::kNone) retire(sequence);
    events.push_back(std::move(event));
  }
  return {};
}

/// Some stages hold a refused sequence and others freed it: it is freed everywhere, and so is what
/// ticks on their way fork off it, which only the former have. A running sequence among these is
/// refused by a stage itself.
void Engine::State::drop_refused(std::uint64_t kv) {
  std::set<std::uint64_t> lost = {kv};
  memory.drop(kv);
  for (const Flight& flight : flights) {
    for (const StateOp& op : flight.ops) {
      if (op.kind != StateOp::Kind::kFork || !lost.contains(op.source)) continue;
      lost.insert(op.sequence);
      if (!by_kv.contains(op.sequence)) memory.drop(op.sequence);
    }
  }
}

/// What the stages hold of the sequence is of no use: it ends or, when the fault is not its own, is
/// computed again.
void Engine::State::refuse(Sequence& sequence, const Error& error, const Flight& flight) {
  const std::uint64_t kv = sequence.kv;
  by_kv.erase(kv);
  if (error.code == ErrorCode::kNotFound) drop_source(kv, flight);
  if (is_loss(error) && ++sequence.losses < kLossesMax) {
    sequence.lose_kv(next_id++);
    waiting.insert(running.extract(sequence.rank()));
    return;
  }
  Event event = event_of(sequence);
  event.submitted = flight.submitted;
  event.finish = FinishReason::kError;
  // A shortage here, or a stage that lost something, is not the request's mistake.
  event.error = is_loss(error) ? Error{ErrorCode::kUnavailable, error.message} : error;
  events.push_back(std::move(event));
  running.erase(sequence.rank());
}

/// A stage did not have what an idle sequence was to hand on: nobody else may begin with it.
void Engine::State::drop_source(std::uint64_t kv, const Flight& flight) {
  for (const StateOp& op : flight.ops) {
    const bool fork = op.kind == StateOp::Kind::kFork && op.sequence == kv;
    if (fork && !by_kv.contains(op.source)) memory.drop(op.source);
  }
}

}  // namespace tandem::scheduler
