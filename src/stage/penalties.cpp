#include "stage/penalties.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tandem::stage {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

/// Where the last `context` tokens of `size` begin; a context of 0 begins at `whole`.
std::size_t window(std::size_t size, std::int32_t context, std::size_t whole) {
  if (context == 0) return std::min(whole, size);
  return size - std::min(size, static_cast<std::size_t>(context));
}

}  // namespace

void TokenCounts::add(std::span<const std::int32_t> tokens, int change) {
  for (const std::int32_t token : tokens) {
    const auto count = counts_.try_emplace(token, 0).first;
    count->second += change;
    if (count->second == 0) counts_.erase(count);
  }
}

void TokenCounts::update(std::span<const std::int32_t> text, std::size_t begin) {
  if (begin >= end_) {  // nothing of what was counted is left
    reset();
    begin_ = end_ = begin;
  }
  add(text.subspan(end_), 1);
  add(text.subspan(begin_, begin - begin_), -1);
  begin_ = begin;
  end_ = text.size();
}

void Penalties::apply(std::span<float> logits, const SamplingParams& params,
                      std::span<const std::int32_t> text, std::size_t prompt) {
  const auto at = [&](std::int32_t id) -> float& { return logits[static_cast<std::size_t>(id)]; };
  for (const auto& [id, bias] : params.logit_bias) at(id) += bias;
  if (params.repetition_penalty != 0) {
    repetition_.update(text, window(text.size(), params.repetition_context, 0));
    const float penalty = params.repetition_penalty;
    for (const auto& [id, count] : repetition_.counts()) {
      float& logit = at(id);
      if (!std::isfinite(logit)) continue;
      // A tiny penalty must not make infinity of it, which would be the model's failure.
      logit = std::clamp(logit < 0 ? logit * penalty : logit / penalty, -kLargest, kLargest);
    }
  }
  if (params.presence_penalty != 0) {
    presence_.update(text, window(text.size(), params.presence_context, prompt));
    for (const auto& [id, count] : presence_.counts()) at(id) -= params.presence_penalty;
  }
  if (params.frequency_penalty != 0) {
    frequency_.update(text, window(text.size(), params.frequency_context, prompt));
    for (const auto& [id, count] : frequency_.counts()) {
      at(id) -= params.frequency_penalty * static_cast<float>(count);
    }
  }
}

void Penalties::reset() {
  repetition_.reset();
  presence_.reset();
  frequency_.reset();
}

}  // namespace tandem::stage
