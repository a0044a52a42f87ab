#include "stage/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>

#include "stage/distribution.h"
#include "stage/filters.h"
#include "stage/mask.h"
#include "stage/random.h"

namespace tandem::stage {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

Error not_finite() {
  return Error{ErrorCode::kInternal, "the model's logits are not finite numbers"};
}

/// The last `context` tokens with how often each occurs; 0: all.
std::map<std::int32_t, int> recent(std::span<const std::int32_t> history, std::int32_t context) {
  const auto size = static_cast<std::size_t>(context);
  if (context > 0 && history.size() > size) history = history.last(size);
  std::map<std::int32_t, int> counts;
  for (const std::int32_t token : history) ++counts[token];
  return counts;
}

/// Walks the distribution in the order of ids until `draw` of the mass is behind.
std::int32_t categorical(std::span<const Candidate> candidates, float temperature, double draw) {
  std::vector<float> weights;
  weights.reserve(candidates.size());
  for (const Candidate& each : candidates) weights.push_back(each.value);
  const float max = *std::max_element(weights.begin(), weights.end());
  exp_below(weights, max, 1.0F / temperature);
  double total = 0;
  for (const float weight : weights) total += weight;
  double left = draw * total;
  std::size_t chosen = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    chosen = i;  // the last one with weight takes what rounding leaves over
    left -= weights[i];
    if (left < 0) break;
  }
  return candidates[chosen].id;
}

/// Turns the logits into log-probabilities and draws by them.
std::int32_t draw(std::span<float> logits, const Softmax& softmax, const SamplingParams& params,
                  std::uint64_t position) {
  for (float& logit : logits) logit = softmax.logprob(logit);
  const auto candidates = filter(logits, params, uniform(params.seed, position, Draw::kXtc));
  return categorical(candidates, params.temperature, uniform(params.seed, position, Draw::kToken));
}

std::int32_t draw_allowed(std::span<const float> logits, const SamplingParams& params,
                          std::uint64_t position, std::span<const std::uint32_t> allowed) {
  if (params.temperature == 0) return best_allowed(logits, allowed);
  std::vector<float> kept = keep_allowed(logits, allowed);
  const auto distribution = softmax(kept);
  // The model rules out everything that is allowed: any of it will do.
  return distribution ? draw(kept, *distribution, params, position) : best_allowed(logits, allowed);
}

}  // namespace

void penalize(std::span<float> logits, const SamplingParams& params,
              std::span<const std::int32_t> history) {
  const auto at = [&](std::int32_t id) -> float& { return logits[static_cast<std::size_t>(id)]; };
  for (const auto& [id, bias] : params.logit_bias) at(id) += bias;
  if (params.repetition_penalty != 0) {
    for (const auto& [id, count] : recent(history, params.repetition_context)) {
      float& logit = at(id);
      if (!std::isfinite(logit)) continue;
      const float penalty = params.repetition_penalty;
      // A tiny penalty must not make infinity of it, which would be the model's failure.
      logit = std::clamp(logit < 0 ? logit * penalty : logit / penalty, -kLargest, kLargest);
    }
  }
  if (params.presence_penalty != 0) {
    for (const auto& [id, count] : recent(history, params.presence_context)) {
      at(id) -= params.presence_penalty;
    }
  }
  if (params.frequency_penalty != 0) {
    for (const auto& [id, count] : recent(history, params.frequency_context)) {
      at(id) -= params.frequency_penalty * static_cast<float>(count);
    }
  }
}

Result<SampledToken> sample(std::span<float> logits, const SamplingParams& params,
                            std::span<const std::int32_t> history, std::uint64_t position,
                            std::uint32_t top, std::span<const std::uint32_t> allowed) {
  penalize(logits, params, history);
  const auto distribution = softmax(logits);
  if (!distribution) return not_finite();
  SampledToken token;
  token.top = top_logprobs(logits, *distribution, top);
  if (!allowed.empty()) {
    token.id = draw_allowed(logits, params, position, allowed);
    token.logprob = distribution->logprob(logits[static_cast<std::size_t>(token.id)]);
    return token;
  }
  if (params.temperature == 0) {
    token.id = distribution->best.id;
    token.logprob = distribution->logprob(distribution->best.value);
    return token;
  }
  token.id = draw(logits, *distribution, params, position);
  token.logprob = logits[static_cast<std::size_t>(token.id)];
  return token;
}

Result<TokenScore> score(std::span<const float> logits, std::int32_t id, std::uint32_t top) {
  const auto distribution = softmax(logits);
  if (!distribution) return not_finite();
  TokenScore score;
  score.id = id;
  score.logprob = distribution->logprob(logits[static_cast<std::size_t>(id)]);
  score.top = top_logprobs(logits, *distribution, top);
  return score;
}

}  // namespace tandem::stage
