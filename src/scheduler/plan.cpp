#include "scheduler/plan.h"

#include <algorithm>
#include <cstddef>

#include "cluster/frame.h"
#include "stage/tick_check.h"

namespace tandem::scheduler {
namespace {

/// Upper bound of a result's size in a frame, bytes.
std::uint64_t result_bytes(std::uint32_t top_logprobs) {
  return 16 * (static_cast<std::uint64_t>(top_logprobs) + 1);
}

/// What a tick still has room for.
struct Room {
  std::uint64_t rows = 0;
  std::uint64_t result_bytes = cluster::kMaxFrameHeaderBytes;

  void take(std::uint64_t count, std::uint64_t bytes) {
    rows -= std::min(rows, count);
    result_bytes -= std::min(result_bytes, bytes);
  }
};

/// Decoding sequences are spread over the stages, so that each micro-batch takes ceil(n / stages).
void add_decodes(const PlanState& state, Room& room, std::vector<PlannedEntry>& entries) {
  std::vector<const SequenceView*> ready;
  std::size_t decoding = 0;
  for (const SequenceView& sequence : state.sequences) {
    if (sequence.submitted < sequence.prompt) continue;
    ++decoding;
    if (sequence.decode_ready) ready.push_back(&sequence);
  }
  const auto stages = static_cast<std::size_t>(state.stages);
  const std::size_t share =
      std::min<std::size_t>({ready.size(), (decoding + stages - 1) / stages, state.rows_max});
  std::stable_sort(ready.begin(), ready.end(), [](const SequenceView* a, const SequenceView* b) {
    return a->last_tick < b->last_tick;
  });
  for (std::size_t i = 0; i < share; ++i) {
    const std::uint64_t bytes = result_bytes(ready[i]->top_logprobs);
    if (i > 0 && bytes > room.result_bytes) return;  // the rest is served first next time
    room.take(1, bytes);
    entries.push_back({.sequence = ready[i]->id, .count = 1, .decode = true, .sample = true});
  }
}

void add_chunks(const PlanState& state, Room& room, std::vector<PlannedEntry>& entries) {
  std::uint64_t waiting = 0;
  for (const SequenceView& sequence : state.sequences) {
    // The whole prompt counts, so that chunks keep their size while a prompt is worked off.
    if (sequence.submitted < sequence.prompt) waiting += sequence.prompt;
  }
  const std::uint32_t budget = prefill_budget(waiting, state.stages, state.prefill_step_size);
  room.rows = std::min<std::uint64_t>(room.rows, budget);
  for (const SequenceView& sequence : state.sequences) {
    const std::uint64_t bytes = sequence.scored ? result_bytes(sequence.top_logprobs) : 0;
    std::uint64_t most = std::min<std::uint64_t>(room.rows, sequence.prompt - sequence.submitted);
    if (bytes > 0) {
      const std::uint64_t least = entries.empty() ? 1 : 0;
      most = std::min(most, std::max(room.result_bytes / bytes, least));
    }
    const auto count = static_cast<std::uint32_t>(most);
    if (count == 0) continue;
    const bool last = sequence.submitted + count == sequence.prompt;
    entries.push_back(
        {.sequence = sequence.id, .count = count, .sample = last && sequence.samples});
    room.take(count, count * bytes);
  }
}

}  // namespace

std::uint32_t prefill_budget(std::uint64_t waiting, int stages, std::uint32_t step_size) {
  if (stages <= 1) return step_size;
  const std::uint64_t chunks = static_cast<std::uint64_t>(stages) * kChunksPerStage;
  const std::uint64_t even = (waiting + chunks - 1) / chunks;
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(step_size, std::max<std::uint64_t>(even, kPipelinedChunkMin)));
}

std::uint32_t result_rows_max(std::uint32_t top_logprobs) {
  return static_cast<std::uint32_t>(
      std::max<std::uint64_t>(cluster::kMaxFrameHeaderBytes / result_bytes(top_logprobs), 1));
}

std::uint32_t tick_rows_max(std::uint64_t row_bytes) {
  const std::uint64_t room = cluster::kMaxFrameBytes - cluster::kMaxFrameHeaderBytes;
  const std::uint64_t rows = room / std::max<std::uint64_t>(row_bytes, 1);
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(rows, 1, static_cast<std::uint64_t>(stage::kMaxTickRows)));
}

std::optional<std::vector<PlannedEntry>> plan(const PlanState& state) {
  if (state.in_flight >= state.stages) return std::nullopt;
  std::vector<PlannedEntry> entries;
  Room room{.rows = state.rows_max};
  add_decodes(state, room, entries);
  add_chunks(state, room, entries);
  if (entries.empty()) return std::nullopt;
  return entries;
}

}  // namespace tandem::scheduler
