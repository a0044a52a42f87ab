#include "scheduler/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "base/check.h"
#include "scheduler/plan.h"
#include "scheduler/request_check.h"
#include "scheduler/sequence.h"

namespace tandem::scheduler {
namespace {

/// KV is handed out in pages of this many tokens.
constexpr std::uint64_t kPageTokens = 64;

/// A tick on its way.
struct Flight {
  std::uint64_t number = 0;
  std::vector<PlannedEntry> entries;
  std::vector<std::uint64_t> frees;
};

/// Tokens of KV that the tightest rank has room for.
std::uint64_t kv_capacity(const std::vector<cluster::RankInfo>& ranks) {
  std::uint64_t tokens = std::numeric_limits<std::uint64_t>::max();
  for (const cluster::RankInfo& rank : ranks) {
    const stage::StageInfo& info = rank.stage;
    if (info.kv_bytes_per_token == 0 || info.kv_bytes_max == 0) continue;
    tokens = std::min(tokens, info.kv_bytes_max / info.kv_bytes_per_token);
  }
  return tokens;
}

std::uint64_t whole_pages(std::uint64_t tokens) {
  return (tokens + kPageTokens - 1) / kPageTokens * kPageTokens;
}

/// A stage's refusal ends the sequences of its tick; anything else ends the pipeline.
bool is_refusal(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kResourceLimit;
}

}  // namespace

struct Engine::State {
  State(cluster::Pipeline& stages, EngineOptions limits) : pipeline(stages), options(limits) {}

  cluster::Pipeline& pipeline;
  EngineOptions options;
  std::int32_t vocabulary = 0;
  std::uint64_t capacity = 0;  // tokens of KV
  std::uint64_t reserved = 0;  // of which set aside
  std::uint64_t next_id = 1;
  std::uint64_t next_tick = 1;
  std::deque<Sequence> waiting;
  std::map<std::uint64_t, Sequence> live;
  std::vector<std::uint64_t> frees;  // for the next tick
  std::deque<Flight> flights;
  std::optional<Error> dead;

  void admit();
  void retire(std::uint64_t id);
  Status fill();
  Result<std::vector<Event>> commit(const TickResult& result);
  std::vector<Event> refuse(const Error& error);
  Status check_result(const TickResult& result, const Flight& flight) const;
  Event advance(Sequence& sequence, const PlannedEntry& entry, const SampledToken* token);
  Error die(Error error);
};

Error Engine::State::die(Error error) {
  dead = error;
  return error;
}

/// First come, first served, as far as KV memory and the limit of sequences allow.
void Engine::State::admit() {
  while (!waiting.empty() && live.size() < static_cast<std::size_t>(options.sequences_max)) {
    Sequence& first = waiting.front();
    if (!live.empty() && reserved + first.reserved > capacity) return;
    reserved += first.reserved;
    const std::uint64_t id = first.id;
    live.emplace(id, std::move(first));
    waiting.pop_front();
  }
}

/// Forgets a live sequence; stages that have seen it free its KV with the next tick.
void Engine::State::retire(std::uint64_t id) {
  const auto found = live.find(id);
  check(found != live.end(), "retired sequence is live");
  reserved -= found->second.reserved;
  if (found->second.last_tick > 0) frees.push_back(id);
  live.erase(found);
}

/// Submits ticks until the pipeline is full or nothing is ready.
Status Engine::State::fill() {
  for (;;) {
    admit();
    PlanState state;
    state.stages = pipeline.stages();
    state.in_flight = static_cast<int>(flights.size());
    state.prefill_step_size = static_cast<std::uint32_t>(options.prefill_step_size);
    for (const auto& [id, sequence] : live) state.sequences.push_back(sequence.view());
    auto entries = plan(state);
    if (!entries) return {};
    Tick tick;
    tick.number = next_tick++;
    for (const std::uint64_t id : frees) {
      tick.kv_ops.push_back({.kind = KvOp::Kind::kFree, .sequence = id});
    }
    for (const PlannedEntry& planned : *entries) {
      Sequence& sequence = live.at(planned.sequence);
      tick.entries.push_back(sequence.entry(planned));
      sequence.submit(planned, tick.number);
    }
    flights.push_back({tick.number, std::move(*entries), std::exchange(frees, {})});
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
  std::size_t next = 0;
  for (const PlannedEntry& entry : flight.entries) {
    if (!entry.sample) continue;
    if (next >= result.sampled.size() || result.sampled[next].sequence != entry.sequence) {
      return Error{ErrorCode::kInternal,
                   fmt::format("the last stage drew no token for sequence {} in tick {}",
                               entry.sequence, flight.number)};
    }
    const std::int32_t id = result.sampled[next++].id;
    if (id < 0 || id >= vocabulary) {
      return Error{ErrorCode::kInternal,
                   fmt::format("the last stage drew token {} outside the vocabulary", id)};
    }
  }
  if (next == result.sampled.size()) return {};
  return Error{
      ErrorCode::kInternal,
      fmt::format("the last stage drew more tokens than tick {} asked for", flight.number)};
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
  }
  event.prompt_done = sequence.returned;
  const Request& request = sequence.request;
  if (token == nullptr) {
    const bool scored = sequence.returned == sequence.prompt() && request.max_tokens == 0;
    if (scored) event.finish = FinishReason::kLength;
    return event;
  }
  sequence.tokens.push_back(token->id);
  event.token = *token;
  if (std::binary_search(request.stop_ids.begin(), request.stop_ids.end(), token->id)) {
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
    if (event.finish != FinishReason::kNone) retire(entry.sequence);
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
    const auto found = live.find(entry.sequence);
    if (found == live.end()) continue;
    Event event;
    event.sequence = entry.sequence;
    event.prompt_done = found->second.returned;
    event.finish = FinishReason::kError;
    event.error = error;
    retire(entry.sequence);
    events.push_back(std::move(event));
  }
  return events;
}

Engine::Engine(cluster::Pipeline& pipeline, EngineOptions options)
    : state_(std::make_unique<State>(pipeline, options)) {
  const auto ranks = pipeline.ranks();
  check(!ranks.empty(), "a pipeline has ranks");
  check(options.prefill_step_size >= 1 && options.sequences_max >= 1 && options.waiting_max >= 0,
        "engine options within their limits");
  state_->vocabulary = ranks.front().stage.vocabulary;
  state_->capacity = kv_capacity(ranks);
  const int limit = ranks.front().stage.context_max;
  const int wanted = options.context_max;
  state_->options.context_max = wanted > 0 && wanted < limit ? wanted : limit;
}

Engine::~Engine() = default;

int Engine::context_max() const { return state_->options.context_max; }

Result<std::uint64_t> Engine::add(Request request) {
  State& state = *state_;
  auto status = check_request(request, state.vocabulary, state.options.context_max);
  if (!status.ok()) return status.error();
  if (state.waiting.size() >= static_cast<std::size_t>(state.options.waiting_max)) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("{} requests wait already", state.waiting.size())};
  }
  const std::uint64_t prompt = request.prompt.size();
  if (whole_pages(prompt) > state.capacity) {
    return Error{
        ErrorCode::kResourceLimit,
        fmt::format("the prompt of {} tokens needs more KV memory than the ranks have room for "
                    "({} tokens)",
                    prompt, state.capacity)};
  }
  Sequence sequence;
  sequence.id = state.next_id++;
  const auto limit = static_cast<std::uint64_t>(state.options.context_max);
  sequence.reserved =
      whole_pages(std::min(prompt + static_cast<std::uint64_t>(request.max_tokens), limit));
  sequence.tokens = request.prompt;
  sequence.request = std::move(request);
  const std::uint64_t id = sequence.id;
  state.waiting.push_back(std::move(sequence));
  return id;
}

void Engine::cancel(std::uint64_t sequence) {
  State& state = *state_;
  if (state.live.contains(sequence)) {
    state.retire(sequence);
    return;
  }
  std::erase_if(state.waiting, [&](const Sequence& waits) { return waits.id == sequence; });
}

bool Engine::busy() const { return !state_->live.empty() || !state_->waiting.empty(); }

Result<std::vector<Event>> Engine::step(Deadline deadline) {
  State& state = *state_;
  if (state.dead) return *state.dead;
  if (auto status = state.fill(); !status.ok()) return state.die(status.error());
  if (state.flights.empty()) return std::vector<Event>{};
  auto result = state.pipeline.next(deadline);
  if (result.ok()) return state.commit(*result);
  if (is_refusal(result.error())) return state.refuse(result.error());
  return state.die(result.error());
}

}  // namespace tandem::scheduler
