#include "stage/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "stage/distribution.h"
#include "stage/filters.h"
#include "stage/mask.h"
#include "stage/random.h"

namespace tandem::stage {
namespace {

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

Error not_finite() {
  return Error{ErrorCode::kInternal, "the model's logits are not finite numbers"};
}

Result<TokenResult> sample(std::span<float> logits, const SamplingParams& params,
                           std::uint64_t position, std::uint32_t top,
                           std::span<const std::uint32_t> allowed) {
  const auto distribution = softmax(logits);
  if (!distribution) return not_finite();
  TokenResult token;
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

Result<TokenResult> score(std::span<const float> logits, std::int32_t id, std::uint32_t top) {
  const auto distribution = softmax(logits);
  if (!distribution) return not_finite();
  TokenResult score;
  score.id = id;
  score.logprob = distribution->logprob(logits[static_cast<std::size_t>(id)]);
  score.top = top_logprobs(logits, *distribution, top);
  return score;
}

}  // namespace tandem::stage
