#include "stage/tick_output.h"

#include <utility>

#include "stage/sampler.h"

namespace tandem::stage {

TickOutput::TickOutput(const Tick& tick, SequenceStates& states, std::int32_t vocabulary,
                       ThreadPool& pool)
    : states_(states), vocabulary_(static_cast<std::size_t>(vocabulary)), pool_(pool) {
  result_.epoch = tick.epoch;
  result_.number = tick.number;
  std::size_t row = 0;
  for (const TickEntry& entry : tick.entries) {
    plan_entry(entry, row);
    row += entry.tokens.size();
  }
}

void TickOutput::plan_entry(const TickEntry& entry, std::size_t row) {
  std::vector<float>& kept = states_.at(entry.sequence).last_row;
  if (entry.score && !kept.empty()) {
    auto first = score(kept, entry.tokens.front(), entry.top_logprobs);
    if (first.ok()) {
      result_.scores.emplace_back();
      store_score(result_.scores.size() - 1, entry, 0, std::move(*first));
    } else {
      error_ = first.error();
    }
  }
  kept.clear();
  const std::size_t count = entry.tokens.size();
  for (std::size_t i = entry.score ? 0 : count - 1; i < count; ++i) {
    const bool last = i + 1 == count;
    if (last && !entry.score && !entry.sample) continue;
    Use use;
    use.entry = &entry;
    use.offset = i;
    if (!last) {
      use.score_slot = result_.scores.size();
      result_.scores.emplace_back();
    } else if (entry.sample) {
      use.sample_slot = result_.sampled.size();
      result_.sampled.emplace_back();
    }
    rows_.push_back(static_cast<std::int32_t>(row + i));
    uses_.push_back(use);
  }
}

void TickOutput::store_score(std::size_t slot, const TickEntry& entry, std::size_t index,
                             TokenScore score) {
  score.sequence = entry.sequence;
  score.position = entry.position + static_cast<std::uint32_t>(index);
  result_.scores[slot] = std::move(score);
}

void TickOutput::use_row(Use& use, std::span<float> logits) {
  const TickEntry& entry = *use.entry;
  if (use.score_slot != kNone) {
    const std::size_t next = use.offset + 1;
    auto scored = score(logits, entry.tokens[next], entry.top_logprobs);
    if (!scored.ok()) {
      use.error = scored.error();
      return;
    }
    store_score(use.score_slot, entry, next, std::move(*scored));
    return;
  }
  SequenceState& state = states_.at(entry.sequence);
  if (entry.score) state.last_row.assign(logits.begin(), logits.end());
  if (use.sample_slot == kNone) return;
  auto sampled = sample(logits, state.sampling, state.tokens,
                        std::uint64_t{entry.position} + entry.tokens.size(), entry.top_logprobs,
                        entry.allowed);
  if (!sampled.ok()) {
    use.error = sampled.error();
    return;
  }
  sampled->sequence = entry.sequence;
  result_.sampled[use.sample_slot] = std::move(*sampled);
}

void TickOutput::take(std::size_t first, std::size_t count, float* logits) {
  // Rows are independent and each writes to its own slots.
  pool_.parallel_for(
      static_cast<std::int64_t>(count), 1, [&](std::int64_t begin, std::int64_t end, int) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          use_row(uses_[first + i], {logits + i * vocabulary_, vocabulary_});
        }
      });
}

Result<TickResult> TickOutput::result() && {
  if (error_) return *error_;
  for (const Use& use : uses_) {
    if (use.error) return *use.error;
  }
  return std::move(result_);
}

}  // namespace tandem::stage
