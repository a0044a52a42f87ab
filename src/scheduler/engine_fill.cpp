// What an engine does before a tick: who runs, what is computed, and the tick itself.

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "base/check.h"
#include "rules/tick_entry.h"
#include "scheduler/engine_state.h"

namespace tandem::scheduler {
namespace {

/// Most waiting requests whose prompts are compared with what is computed, before each tick.
constexpr int kComparedMax = 64;

/// The prompts before `served` in order saw it pass.
void note_turn(std::map<QueuePosition, Sequence>& running, Sequence& served, std::uint32_t count) {
  served.passed -= count;
  for (auto& [rank, other] : running) {
    if (rank >= served.rank()) return;
    if (other.view(0, false).is_prompt()) other.passed += count;
  }
}

}  // namespace

/// A sequence's tokens and the next page's worth of its answer.
std::uint64_t Engine::State::tokens_wanted(const Sequence& sequence) const {
  const auto answer = static_cast<std::uint64_t>(sequence.request.max_tokens);
  const std::uint64_t whole = std::min(sequence.prompt() + answer, length_max());
  return std::min<std::uint64_t>(sequence.total() + kPageTokens, whole);
}

/// Pages of these, beside what the match shares with running sequences.
PageCounts Engine::State::pages_wanted(const Sequence& sequence,
                                       const KvMemory::Match& match) const {
  PageCounts pages = limits.kv.needed(tokens_wanted(sequence));
  const PageCounts shared = memory.book().pinned_pages(match.source, match.length);
  for (std::size_t g = 0; g < pages.size(); ++g) pages[g] -= std::min(pages[g], shared[g]);
  return pages;
}

/// Whether `pages` more can be promised beside what the running sequences are going to need.
bool Engine::State::fits(const PageCounts& pages) const {
  if (running.empty()) return true;
  if (running.size() >= static_cast<std::size_t>(options.sequences_max)) return false;
  PageCounts promised = pages;
  for (const auto& [rank, sequence] : running) {
    promised = promised + memory.book().pages_to_grow(sequence.kv, tokens_wanted(sequence));
  }
  return memory.fits(promised);
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
    if (match.soon()) {
      memory.wait_for(match);
      ++next;
    } else if (fits(pages_wanted(sequence, match))) {
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
  state.turn = turn;
  state.rows_max = limits.rows_max;
  cost::TickLoad streams;
  std::optional<std::uint64_t> depth;  // that the rows of prompts follow, at most; none: no prompt
  bool replays = false;
  const auto stages = static_cast<std::uint32_t>(std::max(state.stages, 1));
  state.free_pages = memory.free_blocks();
  for (const auto& [rank, sequence] : running) {
    const bool copies = memory.book().shares_last_page(sequence.kv);
    state.sequences.push_back(sequence.view(limits.vocabulary, copies));
    SequenceView& view = state.sequences.back();
    view.to_stop = memory.tokens_to_stop(sequence.kv);
    const std::uint64_t grows =
        pages_of(std::max(view.total, view.submitted)) - pages_of(view.submitted);
    const auto& shape = limits.kv;
    view.let_go = shape.windowed()
                      ? grows - std::min(grows, shape.in_blocks(memory.book().pages_to_grow(
                                                    sequence.kv, view.total)))
                      : 0;
    if (view.decodes()) {
      streams.add_rows(1, sequence.submitted);
      ++streams.draws;
    } else {
      depth = std::max<std::uint64_t>(depth.value_or(0), sequence.submitted);
      replays = replays || (sequence.replays && view.pending() > 0);
    }
  }
  // Both are found by many predictions, which a tick without a prompt need not wait for.
  if (!depth) return state;
  state.prefill_step_size =
      std::min(static_cast<std::uint32_t>(options.prefill_step_size),
               std::max(times.prompt_rows(*depth, limits.rows_max) / stages, kPipelinedChunkMin));
  if (options.mixed_rows > 0) {
    state.mixed_rows = static_cast<std::uint32_t>(options.mixed_rows);
  } else {
    state.mixed_rows =
        std::max(times.mixed_rows(streams, *depth, limits.rows_max) / stages, std::uint32_t{1});
    if (replays) {
      state.mixed_rows =
          std::max(state.mixed_rows, times.replay_rows(streams, *depth, limits.rows_max) / stages);
    }
  }
  return state;
}

/// Plans until no one has to give way.
std::vector<PlannedEntry> Engine::State::planned_entries() {
  for (;;) {
    TickPlan planned = plan_tick(plan_state());
    if (!planned.preempt) return std::move(planned.entries);
    const Sequence& victim = *by_kv.at(*planned.preempt);
    preempt(running.find(victim.rank()));
  }
}

void Engine::State::end_early(Sequence& sequence, FinishReason finish, std::optional<Error> error) {
  Event event = event_of(sequence);
  event.finish = finish;
  event.error = std::move(error);
  events.push_back(std::move(event));
  retire(sequence);
}

bool Engine::State::constrain(Sequence& sequence, TickEntry& entry) {
  const bool draws = !entry.wants.empty() && entry.wants.back().kind == Want::Kind::kDraw;
  if (!draws || !sequence.request.constraint) return true;
  TokenConstraint& constraint = *sequence.request.constraint;
  if (constraint.complete()) {
    end_early(sequence, FinishReason::kStop, std::nullopt);
    return false;
  }
  auto allowed = constraint.allowed();
  Status status = allowed.ok() ? Status() : allowed.error();
  if (status.ok()) {
    entry.wants.back().allowed = std::move(*allowed);
    // The request was checked when it came: what breaks a rule now is the constraint.
    status = rules::check_entry(entry, {limits.vocabulary, limits.context_max});
    if (status.ok()) return true;
    status = Error{ErrorCode::kInternal, status.error().message};
  }
  end_early(sequence, FinishReason::kError, status.error());
  return false;
}

void Engine::State::add_entry(const PlannedEntry& planned, Tick& tick, Flight& flight) {
  Sequence& sequence = *by_kv.at(planned.sequence);
  TickEntry entry = sequence.entry(planned);
  if (!constrain(sequence, entry)) return;
  FlightEntry due = flight_entry(planned, entry);
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
    const auto planned = planned_entries();
    if (planned.empty()) return {};
    turn.took(by_kv.at(planned.front().sequence)->suspicions > 0);
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
