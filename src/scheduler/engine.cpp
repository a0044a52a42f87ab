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
#include "scheduler/engine_state.h"
#include "scheduler/request_check.h"
#include "tandem/dtype.h"

namespace tandem::scheduler {
namespace {

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

/// A stage's refusal ends the sequences of its tick; anything else ends the pipeline.
bool is_refusal(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kResourceLimit;
}

}  // namespace

Engine::Engine(cluster::Pipeline& pipeline, EngineOptions options)
    : state_(std::make_unique<State>(pipeline, options)) {
  const auto ranks = pipeline.ranks();
  check(!ranks.empty(), "a pipeline has ranks");
  check(options.prefill_step_size >= 1 && options.sequences_max >= 1 && options.waiting_max >= 0,
        "engine options within their limits");
  state_->vocabulary = ranks.front().stage.vocabulary;
  state_->capacity = kv_capacity(ranks);
  const stage::StageInfo& first = ranks.front().stage;
  state_->rows_max = tick_rows_max(static_cast<std::uint64_t>(std::max(first.hidden_size, 0)) *
                                   size_of(first.hidden_dtype));
  const int limit = ranks.front().stage.context_max;
  const int wanted = options.context_max;
  state_->options.context_max = wanted > 0 && wanted < limit ? wanted : limit;
}

Engine::~Engine() = default;

int Engine::context_max() const { return state_->options.context_max; }

EngineStats Engine::stats() const {
  EngineStats stats = state_->stats;
  stats.waiting = state_->waiting.size();
  stats.running = state_->live.size();
  stats.kv_tokens_used = state_->reserved;
  stats.kv_tokens_capacity = state_->capacity;
  return stats;
}

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
  std::sort(sequence.request.stop_ids.begin(), sequence.request.stop_ids.end());
  const std::uint64_t id = sequence.id;
  const auto place = std::find_if(
      state.waiting.begin(), state.waiting.end(),
      [&](const Sequence& waits) { return waits.request.priority < sequence.request.priority; });
  state.waiting.insert(place, std::move(sequence));
  return id;
}

void Engine::cancel(std::uint64_t sequence) {
  State& state = *state_;
  if (state.live.contains(sequence)) {
    state.retire(sequence, State::Leave::kKeep);
    return;
  }
  std::erase_if(state.waiting, [&](const Sequence& waits) { return waits.id == sequence; });
}

bool Engine::busy() const {
  return !state_->live.empty() || !state_->waiting.empty() || !state_->flights.empty();
}

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
