// What an engine does before a tick: who runs, what is computed, and the tick itself.

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "base/check.h"
#include "scheduler/engine_state.h"

namespace tandem::scheduler {
namespace {

/// Most waiting requests whose prompts are compared with what is computed, before each tick.
constexpr int kComparedMax = 64;

/// The prompts before `served` in order saw it pass.
void note_turn(std::map<Rank, Sequence>& running, Sequence& served, std::uint32_t count) {
  served.passed -= count;
  for (auto& [rank, other] : running) {
    if (rank >= served.rank()) return;
    if (other.view(0, false).is_prompt()) other.passed += count;
  }
}

}  // namespace

/// Pages of a sequence's tokens and of the next page's worth of its answer.
std::uint64_t Engine::State::pages_wanted(const Sequence& sequence) const {
  const auto answer = static_cast<std::uint64_t>(sequence.request.max_tokens);
  const std::uint64_t whole = std::min(sequence.prompt() + answer, length_max());
  return pages_of(std::min<std::uint64_t>(sequence.total() + kPageTokens, whole));
}

/// Whether `pages` more can be promised beside what the running sequences are going to need.
bool Engine::State::fits(std::uint64_t pages) const {
  if (running.empty()) return true;
  if (running.size() >= static_cast<std::size_t>(options.sequences_max)) return false;
  std::uint64_t promised = pages;
  for (const auto& [rank, sequence] : running) {
    const std::uint64_t has = pages_of(sequence.submitted);
    promised += std::max(pages_wanted(sequence), has) - has;
    if (memory.book().shares_last_page(sequence.kv)) ++promised;
  }
  return promised <= memory.free_pages();
}

/// By priority and then first come, first served, as far as KV memory and the limit of sequences
/// allow. A prompt whose beginning is being computed for an older one is passed over until then.
void Engine::State::admit() {
  int compared = 0;
  auto next = waiting.begin();
  while (next != waiting.end() && compared++ < kComparedMax) {
    const Sequence& sequence = next->second;
    KvMemory::Match match;
    if (!sequence.scoring) {
      match = memory.match(sequence.request.cache_salt, sequence.tokens, next->first);
    }
    if (match.soon) {
      ++next;
    } else if (fits(pages_wanted(sequence) -
                    memory.book().pinned_pages(match.source, match.length))) {
      start(next++, match);
    } else if (running.rbegin()->first.priority > next->first.priority) {
      preempt(std::prev(running.end()));  // may be what was matched: compared again
    } else {
      return;
    }
  }
}

void Engine::State::start(Sequences::iterator waiter, const KvMemory::Match& match) {
  Sequence& sequence = waiter->second;
  memory.begin(sequence.kv, sequence.request.cache_salt, sequence.tokens, waiter->first, match);
  sequence.submitted = match.length;
  sequence.returned = match.length;
  if (match.source != 0) {
    ++stats.prefix_hits;
    stats.prefix_tokens += match.length;
  }
  if (sequence.prompt_done == 0) {
    sequence.cached = std::min(match.length, sequence.prompt());
    sequence.prompt_done = sequence.cached;
  }
  by_kv[sequence.kv] = &sequence;
  running.insert(waiting.extract(waiter));
}

/// A sequence gives its KV up, as far as others need it, and waits in its old place.
void Engine::State::preempt(Sequences::iterator victim) {
  ++stats.preemptions;
  stop_running(victim);
  Sequence& sequence = victim->second;
  sequence.lose_kv(next_id++);
  waiting.insert(running.extract(victim));
}

PlanState Engine::State::plan_state() const {
  PlanState state;
  state.stages = pipeline.stages();
  state.in_flight = static_cast<int>(flights.size());
  state.rows_max = limits.rows_max;
  cost::TickLoad streams;
  std::uint64_t depth = 0;  // that the rows of prompts follow, at most
  const auto stages = static_cast<std::uint32_t>(std::max(state.stages, 1));
  state.free_pages = memory.free_pages();
  for (const auto& [rank, sequence] : running) {
    const bool copies = memory.book().shares_last_page(sequence.kv);
    state.sequences.push_back(sequence.view(limits.vocabulary, copies));
    if (state.sequences.back().decodes()) {
      streams.add_rows(1, sequence.submitted);
      ++streams.draws;
    } else {
      depth = std::max<std::uint64_t>(depth, sequence.submitted);
    }
  }
  state.prefill_step_size =
      std::min(static_cast<std::uint32_t>(options.prefill_step_size),
               std::max(times.prompt_rows(depth, limits.rows_max) / stages, kPipelinedChunkMin));
  if (options.mixed_rows > 0) {
    state.mixed_rows = static_cast<std::uint32_t>(options.mixed_rows);
  } else {
    state.mixed_rows =
        std::max(times.mixed_rows(streams, depth, limits.rows_max) / stages, std::uint32_t{1});
  }
  return state;
}

/// Plans until no one has to give way.
std::vector<PlannedEntry> Engine::State::plan_tick() {
  for (;;) {
    Plan planned = plan(plan_state());
    if (!planned.preempt) return std::move(planned.entries);
    const Sequence& victim = *by_kv.at(*planned.preempt);
    preempt(running.find(victim.rank()));
  }
}

bool Engine::State::constrain(Sequence& sequence, TickEntry& entry) {
  if (!entry.sample || !sequence.request.constraint) return true;
  TokenConstraint& constraint = *sequence.request.constraint;
  Event event = event_of(sequence);
  if (constraint.complete()) {
    event.finish = FinishReason::kStop;
  } else if (auto allowed = constraint.allowed(); allowed.ok()) {
    entry.allowed = std::move(*allowed);
    return true;
  } else {
    event.finish = FinishReason::kError;
    event.error = allowed.error();
  }
  events.push_back(std::move(event));
  retire(sequence);
  return false;
}

void Engine::State::add_entry(const PlannedEntry& planned, Tick& tick, Flight& flight) {
  Sequence& sequence = *by_kv.at(planned.sequence);
  TickEntry entry = sequence.entry(planned);
  if (!constrain(sequence, entry)) return;
  FlightEntry due{.planned = planned, .top_logprobs = entry.top_logprobs};
  if (entry.score) {
    // A sequence's first token has no score.
    const std::ptrdiff_t skipped = entry.position == 0 ? 1 : 0;
    due.first_score = entry.position + static_cast<std::uint32_t>(skipped);
    due.scored.assign(entry.tokens.begin() + skipped, entry.tokens.end());
  }
  const std::uint64_t entry_position = entry.position;
  memory.append(sequence.kv, planned.count);
  sequence.submit(planned, tick.number);
  tick.entries.push_back(std::move(entry));
  flight.entries.push_back(std::move(due));
  flight.own.add_rows(planned.count, entry_position);
  if (planned.decode) {
    flight.own.draws += planned.count;
  } else {
    note_turn(running, sequence, planned.count);
  }
}

void Engine::State::launch(Flight flight) {
  flights.push_back(std::move(flight));
  Flight& last = flights.back();
  for (const Flight& each : flights) last.load += each.own;
}

/// Submits ticks until the pipeline is full or nothing is ready.
Status Engine::State::fill() {
  for (;;) {
    admit();
    const auto planned = plan_tick();
    if (planned.empty()) return {};
    Tick tick;
    tick.number = next_tick;
    Flight flight;
    flight.number = tick.number;
    flight.submitted = options.now();
    for (const PlannedEntry& entry : planned) add_entry(entry, tick, flight);
    if (tick.entries.empty()) continue;  // every sequence of it ended over its constraint
    tick.state_ops = memory.take_ops();
    flight.ops = tick.state_ops;
    ++next_tick;
    ++stats.ticks;
    launch(std::move(flight));
    if (auto status = pipeline.submit(std::move(tick)); !status.ok()) return status;
  }
}

}  // namespace tandem::scheduler
