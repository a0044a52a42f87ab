#include "stage/penalties.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace tandem::stage {
namespace {

constexpr std::size_t kVocabulary = 24;

/// The rules, word by word, over a text that is looked at anew.
std::vector<float> naive(std::vector<float> logits, const SamplingParams& params,
                         std::span<const std::int32_t> text, std::size_t prompt) {
  const auto counts = [&](std::int32_t context, std::size_t whole) {
    std::size_t begin = std::min(whole, text.size());
    if (context > 0) begin = text.size() - std::min<std::size_t>(context, text.size());
    std::map<std::int32_t, int> out;
    for (const std::int32_t id : text.subspan(begin)) ++out[id];
    return out;
  };
  for (const auto& [id, bias] : params.logit_bias) logits[id] += bias;
  if (params.repetition_penalty != 0) {
    for (const auto& [id, count] : counts(params.repetition_context, 0)) {
      float& logit = logits[id];
      logit = logit < 0 ? logit * params.repetition_penalty : logit / params.repetition_penalty;
    }
  }
  for (const auto& [id, count] : counts(params.presence_context, prompt)) {
    logits[id] -= params.presence_penalty;
  }
  for (const auto& [id, count] : counts(params.frequency_context, prompt)) {
    logits[id] -= params.frequency_penalty * static_cast<float>(count);
  }
  return logits;
}

std::vector<float> penalized(const SamplingParams& params, std::span<const std::int32_t> text,
                             std::size_t prompt) {
  std::vector<float> logits(kVocabulary, 10);
  Penalties().apply(logits, params, text, prompt);
  return logits;
}

TEST(Penalties, PresenceAndFrequencyCountWhatWasGenerated) {
  const std::vector<std::int32_t> text = {1, 1, 2, 3, 3, 2};  // three were given
  SamplingParams params;
  params.presence_penalty = 1;
  params.presence_context = 0;
  auto logits = penalized(params, text, 3);
  EXPECT_EQ(logits[1], 10) << "the prompt's alone";
  EXPECT_EQ(logits[2], 9);
  EXPECT_EQ(logits[3], 9);
  params.presence_penalty = 0;
  params.frequency_penalty = 1;
  params.frequency_context = 0;
  logits = penalized(params, text, 3);
  EXPECT_EQ(logits[1], 10);
  EXPECT_EQ(logits[2], 9);
  EXPECT_EQ(logits[3], 8);
  params.frequency_context = 4;  // mlx-lm's: the last four, prompt or not
  EXPECT_EQ(penalized(params, text, 3)[2], 8);
}

TEST(Penalties, RepetitionLooksAtTheWholeTextOrItsEnd) {
  const std::vector<std::int32_t> text = {1, 2, 3};
  SamplingParams params;
  params.repetition_penalty = 2;
  params.repetition_context = 0;
  EXPECT_EQ(penalized(params, text, 2)[1], 5);
  params.repetition_context = 2;
  EXPECT_EQ(penalized(params, text, 2)[1], 10);
  EXPECT_EQ(penalized(params, text, 2)[2], 5);
}

TEST(Penalties, CountsThatGoOnAreThoseOfTheWholeText) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](std::size_t n) { return static_cast<std::int32_t>(random() % n); };
  for (int round = 0; round < 300; ++round) {
    SamplingParams params;
    params.repetition_penalty = 1.25F;
    params.presence_penalty = 0.5F;
    params.frequency_penalty = -0.25F;
    params.repetition_context = pick(3) == 0 ? 0 : pick(9);
    params.presence_context = pick(2) == 0 ? 0 : pick(9);
    params.frequency_context = pick(2) == 0 ? 0 : pick(9);
    params.logit_bias = {{pick(kVocabulary), 3.0F}};
    std::vector<std::int32_t> text(static_cast<std::size_t>(pick(30)));
    for (auto& id : text) id = pick(kVocabulary);
    const std::size_t prompt = text.size();
    Penalties penalties;
    for (int step = 0; step < 40; ++step) {
      if (pick(12) == 0) {
        text.resize(static_cast<std::size_t>(pick(text.size() + 1)));
        penalties.reset();
      }
      for (int grow = pick(4); grow > 0; --grow) text.push_back(pick(kVocabulary));
      std::vector<float> logits(kVocabulary);
      for (float& logit : logits) logit = static_cast<float>(pick(41) - 20) / 4;
      const auto expected = naive(logits, params, text, prompt);
      penalties.apply(logits, params, text, prompt);
      ASSERT_EQ(logits, expected);
    }
  }
}

}  // namespace
}  // namespace tandem::stage
