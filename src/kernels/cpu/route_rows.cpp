#include "kernels/cpu/route_rows.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace tandem::kernels {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

/// In place; the sum goes from the lowest index up.
void softmax(std::span<float> x) {
  float highest = kNever;
  for (const float value : x) highest = std::max(highest, value);
  float sum = 0;
  for (float& value : x) {
    value = std::exp(value - highest);
    sum += value;
  }
  for (float& value : x) value /= sum;
}

/// The indices of the best scores in descending order, the lower index first among equals: as many
/// as fit `found`. They are distinct and in range even when scores cannot be compared.
void best(std::span<const float> scores, std::span<std::int32_t> found) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const float score = scores[i];
    if (count == found.size() && !(score > scores[static_cast<std::size_t>(found.back())]))
      continue;
    std::size_t at = count < found.size() ? count++ : count - 1;
    for (; at > 0 && score > scores[static_cast<std::size_t>(found[at - 1])]; --at) {
      found[at] = found[at - 1];
    }
    found[at] = static_cast<std::int32_t>(i);
  }
}

float group_score(std::span<const float> scores, RouterSpec::GroupScore kind) {
  float first = kNever;
  float second = kNever;
  for (const float score : scores) {
    if (score > first) {
      second = first;
      first = score;
    } else if (score > second) {
      second = score;
    }
  }
  const bool sum = kind == RouterSpec::GroupScore::kTopTwoSum && scores.size() > 1;
  return sum ? first + second : first;
}

/// Experts of groups that are not among the best can never be chosen. DeepSeek's own code and
/// transformers do so too; mlx-lm gives them a score of 0, which chooses wrongly when the
/// correction makes the score of an allowed expert negative.
void mask_groups(const RouterSpec& spec, RouteScratch& scratch) {
  const std::span<float> choice = scratch.choice;
  const auto groups = static_cast<std::size_t>(spec.groups);
  const std::size_t size = choice.size() / groups;
  scratch.group_scores.resize(groups);
  for (std::size_t g = 0; g < groups; ++g) {
    scratch.group_scores[g] = group_score(choice.subspan(g * size, size), spec.group_score);
  }
  scratch.groups.resize(static_cast<std::size_t>(spec.top_groups));
  best(scratch.group_scores, scratch.groups);
  for (std::size_t g = 0; g < groups; ++g) {
    if (std::ranges::find(scratch.groups, static_cast<std::int32_t>(g)) == scratch.groups.end()) {
      std::ranges::fill(choice.subspan(g * size, size), kNever);
    }
  }
}

}  // namespace

void route_token(const RouterSpec& spec, std::span<const float> logits,
                 std::span<const float> correction, RouteScratch& scratch,
                 std::span<std::int32_t> ids, std::span<float> weights) {
  std::vector<float>& scores = scratch.scores;
  scores.assign(logits.begin(), logits.end());
  if (spec.score == RouterSpec::Score::kSigmoid) {
    for (float& score : scores) score = 1.0f / (1.0f + std::exp(-score));
  } else if (!spec.softmax_after_top_k) {
    softmax(scores);
  }
  std::vector<float>& choice = scratch.choice;
  choice = scores;
  for (std::size_t i = 0; i < correction.size(); ++i) choice[i] += correction[i];
  if (spec.groups > 1) mask_groups(spec, scratch);

  best(choice, ids);
  for (std::size_t k = 0; k < ids.size(); ++k) {
    weights[k] = scores[static_cast<std::size_t>(ids[k])];
  }
  if (spec.softmax_after_top_k) softmax(weights);
  if (spec.normalize) {
    float sum = 0;
    for (const float weight : weights) sum += weight;
    for (float& weight : weights) weight /= sum + spec.normalize_epsilon;
  }
  for (float& weight : weights) weight *= spec.scale;
}

}  // namespace tandem::kernels
