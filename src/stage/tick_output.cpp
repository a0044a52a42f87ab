#include "stage/tick_output.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "stage/random.h"
#include "stage/sampler.h"

namespace tandem::stage {
namespace {

bool is_draw(const Want& want) { return want.kind == Want::Kind::kDraw; }

std::int64_t draws_of(const TickEntry& entry) {
  return std::count_if(entry.wants.begin(), entry.wants.end(), is_draw);
}

}  // namespace

TickOutput::TickOutput(const Tick& tick, const Admission& admission, SequenceStates& states,
                       std::int32_t vocabulary, ThreadPool& pool)
    : states_(states), vocabulary_(static_cast<std::size_t>(vocabulary)), pool_(pool) {
  result_.epoch = tick.epoch;
  result_.number = tick.number;
  for (const TickEntry& entry : tick.entries) {
    result_.entries.push_back({.sequence = entry.sequence, .error = entry.refused});
  }
  for (const Refusal& refusal : admission.refusals) {
    result_.entries[refusal.entry].error = refusal.error;
  }
  std::size_t row = 0;
  for (const Admitted& each : admission.entries) {
    plan_entry(each, row);
    row += each.count();
  }
}

void TickOutput::plan_entry(const Admitted& admitted, std::size_t row) {
  const std::vector<Want>& wants = admitted.entry->wants;
  result_.entries[admitted.index].tokens.resize(wants.size());
  for (std::size_t i = 0; i < wants.size(); ++i) {
    if (i > 0 && wants[i].row == wants[i - 1].row) {
      ++uses_.back().count;
      continue;
    }
    rows_.push_back(static_cast<std::int32_t>(row + wants[i].row));
    uses_.push_back({.of = &admitted, .want = i, .count = 1, .error = {}});
  }
}

/// With one draw in an entry the sequence's own counts go on; several go on from a copy each, for
/// their rows may be taken by several threads.
Result<TokenResult> TickOutput::draw(const Admitted& of, const Want& want,
                                     std::span<float> logits) {
  SequenceState& state = states_.at(of.entry->sequence);
  const std::size_t length = std::size_t{of.entry->position} + want.row + 1;
  const auto text = std::span<const std::int32_t>(state.tokens).first(length);
  if (draws_of(*of.entry) == 1) {
    state.penalties.apply(logits, state.sampling, text, state.prompt);
  } else {
    Penalties(state.penalties).apply(logits, state.sampling, text, state.prompt);
  }
  return sample(logits, state.sampling, length, want.top_logprobs, want.allowed);
}

void TickOutput::use_row(Use& use, std::span<float> logits) {
  EntryResult& result = result_.entries[use.of->index];
  for (std::size_t i = use.want; i < use.want + use.count; ++i) {
    const Want& want = use.of->entry->wants[i];
    auto token =
        is_draw(want) ? draw(*use.of, want, logits) : score(logits, want.token, want.top_logprobs);
    if (!token.ok()) {
      use.error = token.error();
      return;
    }
    result.tokens[i] = std::move(*token);
  }
}

std::optional<PlainDraw> TickOutput::plain_draw(std::size_t i) const {
  const Use& use = uses_[i];
  const TickEntry& entry = *use.of->entry;
  const Want& want = entry.wants[use.want];
  const SamplingParams& params = states_.at(entry.sequence).sampling;
  const bool penalties = params.repetition_penalty != 0 || params.presence_penalty != 0 ||
                         params.frequency_penalty != 0 || !params.logit_bias.empty();
  const bool filters =
      params.temperature != 0 &&
      (params.top_p < 1 || params.top_k != 0 || params.min_p != 0 || params.xtc_probability != 0);
  const bool plain = use.count == 1 && is_draw(want) && want.allowed.empty() &&
                     want.top_logprobs == 0 && !penalties && !filters;
  if (!plain) return std::nullopt;
  const std::uint64_t length = std::uint64_t{entry.position} + want.row + 1;
  return PlainDraw{params.temperature, uniform(params.seed, length, Draw::kToken)};
}

void TickOutput::take_drawn(std::size_t i, const TokenLogprob& drawn) {
  Use& use = uses_[i];
  if (std::isfinite(drawn.logprob)) {
    result_.entries[use.of->index].tokens[use.want] = {drawn.id, drawn.logprob};
  } else {
    use.error = not_finite();
  }
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

/// An entry with a row that failed has no tokens; the others' last draws are what may follow.
TickResult TickOutput::result() && {
  for (Use& use : uses_) {
    EntryResult& result = result_.entries[use.of->index];
    if (use.error && !result.error) result.error = std::move(use.error);
  }
  for (const Use& use : uses_) {
    EntryResult& result = result_.entries[use.of->index];
    if (result.error) {
      result.tokens.clear();
      continue;
    }
    const std::size_t last = use.want + use.count - 1;
    if (!is_draw(use.of->entry->wants[last])) continue;
    SequenceState& state = states_.at(use.of->entry->sequence);
    state.drawn_in = result_.number;
    state.drawn = result.tokens[last].id;
  }
  return std::move(result_);
}

}  // namespace tandem::stage
