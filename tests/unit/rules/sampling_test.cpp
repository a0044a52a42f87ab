#include "rules/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "rules/tick_entry.h"
#include "tandem/limits.h"

namespace tandem::rules {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::string message_of(const Status& status) { return status.ok() ? "ok" : status.error().message; }

TEST(CheckSampling, EveryFieldHasARangeAndIsNamedFirst) {
  const auto refuses = [](auto change, const std::string& field) {
    SamplingParams params;
    change(params);
    const Status status = check_sampling(params, 100);
    ASSERT_FALSE(status.ok()) << field;
    EXPECT_EQ(status.error().message.find(field), 0U) << status.error().message;
  };
  EXPECT_TRUE(check_sampling({}, 100).ok());
  for (const float bad : {kNan, kInf, -0.1F, 101.0F}) {
    refuses([&](auto& p) { p.temperature = bad; }, "temperature");
    refuses([&](auto& p) { p.top_p = bad; }, "top_p");
    refuses([&](auto& p) { p.min_p = bad; }, "min_p");
    refuses([&](auto& p) { p.xtc_probability = bad; }, "xtc_probability");
    refuses([&](auto& p) { p.xtc_threshold = bad; }, "xtc_threshold");
    refuses([&](auto& p) { p.repetition_penalty = bad; }, "repetition_penalty");
  }
  for (const float bad : {kNan, kInf, -kInf, -101.0F, 101.0F}) {
    refuses([&](auto& p) { p.presence_penalty = bad; }, "presence_penalty");
    refuses([&](auto& p) { p.frequency_penalty = bad; }, "frequency_penalty");
    refuses([&](auto& p) { p.logit_bias = {{5, bad}}; }, "logit_bias");
  }
  refuses([](auto& p) { p.top_p = 0; }, "top_p");
  refuses([](auto& p) { p.min_p = 1; }, "min_p");
  refuses([](auto& p) { p.top_k = -1; }, "top_k");
  refuses([](auto& p) { p.min_tokens_to_keep = 0; }, "min_tokens_to_keep");
  refuses([](auto& p) { p.repetition_context = -1; }, "repetition_context");
  refuses([](auto& p) { p.presence_context = -1; }, "presence_context");
  refuses([](auto& p) { p.frequency_context = -1; }, "frequency_context");
  refuses([](auto& p) { p.xtc_special_tokens = {-1}; }, "xtc_special_tokens");
  refuses([](auto& p) { p.logit_bias = {{-1, 0.0F}}; }, "logit_bias");
  refuses([](auto& p) { p.logit_bias = {{100, 0.0F}}; }, "logit_bias");
  refuses([](auto& p) { p.logit_bias.resize(kMaxSamplingIds + 1); }, "logit_bias");
  refuses([](auto& p) { p.xtc_special_tokens.resize(kMaxSamplingIds + 1); }, "xtc_special_tokens");
}

TEST(CheckSampling, TakesWhatVllmAndMlxLmTake) {
  SamplingParams params;
  for (const float penalty : {0.0F, 1e-45F, 1e-7F, 1.0F, 100.0F}) {
    params.repetition_penalty = penalty;
    EXPECT_EQ(message_of(check_sampling(params, 100)), "ok") << penalty;
  }
  // A tokenizer may know more ids than the model: eos of a chat template, for example.
  params.xtc_special_tokens = {5, 100, std::numeric_limits<std::int32_t>::max()};
  EXPECT_EQ(message_of(check_sampling(params, 100)), "ok");
}

TEST(CheckMask, HoldsTheVocabulary) {
  const auto message = [](const std::vector<std::uint32_t>& mask, std::int32_t vocabulary) {
    return message_of(check_mask(mask, vocabulary));
  };
  EXPECT_EQ(message({1}, 1), "ok");
  EXPECT_EQ(message({0x80000000}, 32), "ok");
  EXPECT_EQ(message({0, 1}, 33), "ok");
  EXPECT_EQ(message({0, 2}, 33), "an allowed token is not in the vocabulary of 33");
  EXPECT_EQ(message({1}, 33), "1 words of allowed tokens, a vocabulary of 33 needs 2");
  EXPECT_EQ(message({1, 1}, 32), "2 words of allowed tokens, a vocabulary of 32 needs 1");
  EXPECT_EQ(message({0, 0}, 64), "no token is allowed");
}

}  // namespace
}  // namespace tandem::rules
