#include "scheduler/plan.h"

#include <algorithm>
#include <cstddef>

namespace tandem::scheduler {
namespace {

/// Decoding sequences are spread over the stages, so that each micro-batch takes ceil(n / stages).
void add_decodes(const PlanState& state, std::vector<PlannedEntry>& entries) {
  std::vector<const SequenceView*> ready;
  std::size_t decoding = 0;
  for (const SequenceView& sequence : state.sequences) {
    if (sequence.submitted < sequence.prompt) continue;
    ++decoding;
    if (sequence.decode_ready) ready.push_back(&sequence);
  }
  const auto stages = static_cast<std::size_t>(state.stages);
  const std::size_t share = std::min(ready.size(), (decoding + stages - 1) / stages);
  std::stable_sort(ready.begin(), ready.end(), [](const SequenceView* a, const SequenceView* b) {
    return a->last_tick < b->last_tick;
  });
  for (std::size_t i = 0; i < share; ++i) {
    entries.push_back({.sequence = ready[i]->id, .count = 1, .decode = true, .sample = true});
  }
}

void add_chunks(const PlanState& state, std::vector<PlannedEntry>& entries) {
  std::uint64_t waiting = 0;
  for (const SequenceView& sequence : state.sequences) {
    // The whole prompt counts, so that chunks keep their size while a prompt is worked off.
    if (sequence.submitted < sequence.prompt) waiting += sequence.prompt;
  }
  std::uint32_t budget = prefill_budget(waiting, state.stages, state.prefill_step_size);
  for (const SequenceView& sequence : state.sequences) {
    if (budget == 0) return;
    const std::uint32_t count = std::min(budget, sequence.prompt - sequence.submitted);
    if (count == 0) continue;
    const bool last = sequence.submitted + count == sequence.prompt;
    entries.push_back(
        {.sequence = sequence.id, .count = count, .sample = last && sequence.samples});
    budget -= count;
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

std::optional<std::vector<PlannedEntry>> plan(const PlanState& state) {
  if (state.in_flight >= state.stages) return std::nullopt;
  std::vector<PlannedEntry> entries;
  add_decodes(state, entries);
  add_chunks(state, entries);
  if (entries.empty()) return std::nullopt;
  return entries;
}

}  // namespace tandem::scheduler
