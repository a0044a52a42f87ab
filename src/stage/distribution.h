#pragma once
// A row of logits as a probability distribution.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tandem/tick.h"

namespace tandem::stage {

/// A possible next token with a logit or log-probability.
struct Candidate {
  std::int32_t id = 0;
  float value = 0;
};

/// More likely first, ties by lower id.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.id < b.id;
}

/// What turns logits into log-probabilities: logprob = logit - log_sum.
struct Softmax {
  Candidate best;      // the most likely, lowest id among equals
  double log_sum = 0;  // log of the sum of exp(logit)

  float logprob(float logit) const { return static_cast<float>(logit - log_sum); }
};

/// nullopt when a logit is NaN or +infinity, or all are -infinity. One fixed order of summation.
std::optional<Softmax> softmax(std::span<const float> logits);

/// The `count` best finite values, best first.
std::vector<Candidate> best_of(std::span<const float> values, std::size_t count);
std::vector<Candidate> best_of(std::span<const Candidate> values, std::size_t count);

/// The `count` most likely tokens with their log-probabilities.
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, const Softmax& softmax,
                                       std::size_t count);

/// exp(x) for x <= 0 within 2e-7 of its value; 0 below -87.
float exp_negative(float x);
/// values[i] becomes exp((values[i] - max) * factor), for max >= all of them; the best get 1.
void exp_below(std::span<float> values, float max, float factor);

}  // namespace tandem::stage
