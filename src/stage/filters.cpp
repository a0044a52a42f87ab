#include "stage/filters.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace tandem::stage {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void sort_by_id(std::vector<Candidate>& candidates) {
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

/// The log-probability of the last token that is needed to reach `top_p` of the mass, which is 1;
/// equals of it stay too. Looks at the head of the order, which is short for usual distributions.
float top_p_threshold(std::span<const float> logprobs, double top_p) {
  for (std::size_t head = 64;; head *= 16) {
    double mass = 0;
    float threshold = kInfinity;
    const auto best = best_of(logprobs, head);
    for (const Candidate& each : best) {
      if (mass >= top_p) return threshold;
      threshold = each.value;
      mass += exp_negative(std::min(each.value, 0.0F));
    }
    if (mass >= top_p || best.size() < head) return threshold;
  }
}

std::vector<Candidate> at_least(std::span<const float> logprobs, float threshold) {
  std::vector<Candidate> kept;
  if (threshold == -kInfinity) kept.reserve(logprobs.size());
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    if (logprobs[i] >= threshold && logprobs[i] > -kInfinity) {
      kept.push_back({static_cast<std::int32_t>(i), logprobs[i]});
    }
  }
  return kept;
}

float max_of(const std::vector<Candidate>& candidates) {
  float max = -kInfinity;
  for (const Candidate& each : candidates) max = std::max(max, each.value);
  return max;
}

/// Removes what is less likely than min_p times the most likely, but leaves the best `keep`.
void apply_min_p(std::vector<Candidate>& candidates, float min_p, std::int32_t keep) {
  const float threshold = max_of(candidates) + std::log(min_p);
  const auto below = [&](const Candidate& each) { return each.value < threshold; };
  const auto survivors = candidates.size() - static_cast<std::size_t>(std::count_if(
                                                 candidates.begin(), candidates.end(), below));
  if (survivors >= static_cast<std::size_t>(keep)) {
    std::erase_if(candidates, below);
    return;
  }
  candidates = best_of(candidates, static_cast<std::size_t>(keep));
  sort_by_id(candidates);
}

/// Removes all tokens above the threshold but the least likely of them, so that the obvious choices
/// are left out. Source: https://github.com/oobabooga/text-generation-webui/pull/6335
void apply_xtc(std::vector<Candidate>& candidates, const SamplingParams& params) {
  const double max = max_of(candidates);
  double total = 0;
  for (const Candidate& each : candidates) total += std::exp(each.value - max);
  const auto probability = [&](const Candidate& each) {
    return std::exp(each.value - max) / total;
  };
  double least = kInfinity;
  for (const Candidate& each : candidates) {
    const double p = probability(each);
    if (p > static_cast<double>(params.xtc_threshold)) least = std::min(least, p);
  }
  std::erase_if(candidates, [&](const Candidate& each) {
    return probability(each) > least &&
           std::find(params.xtc_special_tokens.begin(), params.xtc_special_tokens.end(), each.id) ==
               params.xtc_special_tokens.end();
  });
}

}  // namespace

std::vector<Candidate> filter(std::span<const float> logprobs, const SamplingParams& params,
                              double xtc_draw) {
  const bool nucleus = params.top_p > 0 && params.top_p < 1;
  const auto top_k = static_cast<std::size_t>(std::max(params.top_k, 0));
  if (top_k > 0 && !nucleus && params.min_p == 0 && params.xtc_probability == 0) {
    auto best = best_of(logprobs, top_k);  // the common case, without a list of all tokens
    sort_by_id(best);
    return best;
  }
  const float threshold =
      nucleus ? top_p_threshold(logprobs, static_cast<double>(params.top_p)) : -kInfinity;
  std::vector<Candidate> candidates = at_least(logprobs, threshold);
  if (params.min_p > 0) apply_min_p(candidates, params.min_p, params.min_tokens_to_keep);
  if (xtc_draw < static_cast<double>(params.xtc_probability)) apply_xtc(candidates, params);
  if (top_k > 0 && top_k < candidates.size()) {
    candidates = best_of(candidates, top_k);
    sort_by_id(candidates);
  }
  return candidates;
}

}  // namespace tandem::stage
