#include "scheduler/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"
#include "scheduler/engine_state.h"
#include "scheduler/request_check.h"
#include "tandem/dtype.h"

namespace tandem::scheduler {
namespace {

PipelineLimits limits_of(const std::vector<RankInfo>& ranks) {
  check(!ranks.empty(), "a pipeline has ranks");
  const StageInfo& first = ranks.front().stage;
  PipelineLimits limits;
  limits.vocabulary = first.vocabulary;
  limits.context_max = first.context_max;
  limits.rows_max = tick_rows_max(static_cast<std::uint64_t>(std::max(first.hidden_size, 0)) *
                                  size_of(first.hidden_dtype));
  limits.kv = KvShape::of(ranks);
  limits.pages_shared =
      std::ranges::all_of(ranks, [](const RankInfo& rank) { return rank.stage.pages_shared; });
  limits.kv_tokens = limits.kv.length_max();
  return limits;
}

}  // namespace

Engine::State::State(Pipeline& stages, EngineOptions wanted, PipelineLimits offered)
    : pipeline(stages), options(std::move(wanted)), limits(offered), memory(kv_limits()) {}

KvLimits Engine::State::kv_limits() const {
  return {.shape = limits.kv, .sharing = limits.pages_shared, .idle_bytes = options.prefix_bytes};
}

std::uint64_t Engine::State::length_max() const {
  return std::min(static_cast<std::uint64_t>(options.context_max), limits.kv_tokens);
}

Engine::Engine(Pipeline& pipeline, EngineOptions options) {
  check(options.prefill_step_size >= 1 && options.mixed_rows >= 0 && options.sequences_max >= 1 &&
            options.waiting_max >= 0 && options.now,
        "engine options within their limits");
  const auto ranks = pipeline.ranks();
  const PipelineLimits limits = limits_of(ranks);
  const int limit = ranks.front().stage.context_max;
  if (options.context_max <= 0 || options.context_max > limit) options.context_max = limit;
  state_ = std::make_unique<State>(pipeline, std::move(options), limits);
}

Engine::~Engine() = default;

int Engine::context_max() const { return static_cast<int>(state_->length_max()); }

EngineStats Engine::stats() const {
  EngineStats stats = state_->stats;
  const KvBook& book = state_->memory.book();
  stats.waiting = state_->waiting.size() + state_->held.size();
  stats.running = state_->running.size();
  const KvShape& shape = book.shape();
  const std::uint64_t capacity = shape.blocks_beside(shape.none());
  // Slots are no whole blocks: what is full has no more of them than there are.
  const std::uint64_t used = std::min(shape.in_blocks(book.pinned()), capacity);
  stats.kv_tokens_used = used * kPageTokens;
  stats.kv_tokens_idle = (std::min(shape.in_blocks(book.held()), capacity) - used) * kPageTokens;
  stats.kv_tokens_capacity = capacity * kPageTokens;
  return stats;
}

Result<std::uint64_t> Engine::add(Request request) {
  State& state = *state_;
  auto status = check_request(request, state.limits.vocabulary, state.options.context_max);
  if (!status.ok()) return status.error();
  if (state.waiting.size() >= static_cast<std::size_t>(state.options.waiting_max)) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("{} requests wait already", state.waiting.size())};
  }
  if (request.prompt.size() > state.limits.kv_tokens) {
    return invalid(
        fmt::format("the prompt of {} tokens needs more KV memory than the ranks have room for "
                    "({} tokens)",
                    request.prompt.size(), state.limits.kv_tokens));
  }
  Sequence sequence;
  sequence.id = state.next_id++;
  sequence.tokens = request.prompt;
  sequence.request = std::move(request);
  sequence.lose_kv(sequence.id);
  std::sort(sequence.request.stop_ids.begin(), sequence.request.stop_ids.end());
  const std::uint64_t id = sequence.id;
  state.waiting.emplace(sequence.rank(), std::move(sequence));
  return id;
}

void Engine::cancel(std::uint64_t sequence) {
  State& state = *state_;
  const auto named = [&](const auto& item) { return item.second.id == sequence; };
  const auto runs = std::find_if(state.running.begin(), state.running.end(), named);
  if (runs != state.running.end()) return state.retire(runs->second);
  const auto waits = std::find_if(state.waiting.begin(), state.waiting.end(), named);
  if (waits != state.waiting.end()) state.waiting.erase(waits);
  std::erase_if(state.held, named);
}

bool Engine::busy() const {
  return !state_->running.empty() || !state_->waiting.empty() || !state_->held.empty() ||
         !state_->flights.empty() || !state_->events.empty();
}

void Engine::pipeline_reopened(const Error& reason) {
  state_->rebuild(reason, limits_of(state_->pipeline.ranks()));
}

Result<std::vector<Event>> Engine::step(Deadline deadline) {
  State& state = *state_;
  if (state.dead) return *state.dead;
  state.release_held();
  if (auto status = state.fill(); !status.ok()) return state.die(status.error());
  if (state.flights.empty()) return std::exchange(state.events, {});
  auto result = state.pipeline.next(deadline);
  if (!result.ok()) return state.die(result.error());
  if (auto status = state.commit(*result); !status.ok()) return state.die(status.error());
  // Stages go on while the caller deals with the events. A single one has nothing else on its way,
  // and takes what the caller brings first.
  if (state.pipeline.stages() > 1) {
    if (auto status = state.fill(); !status.ok()) return state.die(status.error());
  }
  return std::exchange(state.events, {});
}

}  // namespace tandem::scheduler
