#include "stage/mask.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "rules/tick_entry.h"
#include "unit/stage/sampled.h"

namespace tandem::stage {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

class Masked : public ::testing::Test {
 protected:
  Masked() : seed_(std::random_device{}()), random_(seed_) {}

  std::size_t pick(std::size_t n) { return random_() % n; }

  std::vector<float> random_logits(std::size_t n) {
    std::normal_distribution<float> normal(0, 3);
    std::vector<float> logits(n);
    for (float& logit : logits) logit = normal(random_);
    return logits;
  }

  /// Some tokens of `n`, at least one.
  std::vector<std::uint32_t> random_mask(std::size_t n) {
    std::vector<std::uint32_t> mask((n + 31) / 32);
    for (std::size_t i = 1 + pick(pick(2) == 0 ? 3 : n); i > 0; --i) {
      const std::size_t id = pick(n);
      mask[id / 32] |= 1U << (id % 32);
    }
    return mask;
  }

  SamplingParams random_params(std::size_t n) {
    SamplingParams params;
    params.temperature = pick(3) == 0 ? 0.0F : 0.2F + static_cast<float>(pick(20)) / 10;
    if (pick(2) == 0) params.top_p = static_cast<float>(1 + pick(99)) / 100;
    if (pick(3) == 0) params.top_k = static_cast<std::int32_t>(1 + pick(n));
    if (pick(3) == 0) params.min_p = static_cast<float>(pick(99)) / 100;
    if (pick(3) == 0) params.xtc_probability = 1;
    if (pick(3) == 0) params.repetition_penalty = 1.3F;
    if (pick(3) == 0) params.presence_penalty = 0.5F;
    for (std::size_t i = pick(4); i > 0; --i) {
      params.logit_bias.emplace_back(static_cast<std::int32_t>(pick(n)), pick(2) == 0 ? 9 : -100);
    }
    params.seed = random_();
    return params;
  }

  static bool allows(const std::vector<std::uint32_t>& mask, std::size_t id) {
    return ((mask[id / 32] >> (id % 32)) & 1) != 0;
  }

  unsigned seed_;
  std::mt19937 random_;
};

TEST_F(Masked, DrawsAreThoseOfARowWhereTheRestIsImpossible) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  for (int round = 0; round < 3000; ++round) {
    const std::size_t n = 1 + pick(200);
    const auto logits = random_logits(n);
    const auto mask = random_mask(n);
    const auto params = random_params(n);
    const std::vector<std::int32_t> history(3, static_cast<std::int32_t>(pick(n)));
    auto row = logits;
    const auto drawn =
        sample_after(row, params, history, static_cast<std::uint64_t>(round), 0, mask);
    ASSERT_TRUE(drawn.ok());
    ASSERT_TRUE(allows(mask, static_cast<std::size_t>(drawn->id)));
    auto impossible = logits;
    for (std::size_t id = 0; id < n; ++id) {
      if (!allows(mask, id)) impossible[id] = -kInf;
    }
    const auto expected =
        sample_after(impossible, params, history, static_cast<std::uint64_t>(round), 0);
    ASSERT_TRUE(expected.ok());
    ASSERT_EQ(drawn->id, expected->id) << "round " << round;
  }
}

TEST_F(Masked, ReportedProbabilitiesAreOfAllTokens) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  for (int round = 0; round < 200; ++round) {
    const std::size_t n = 2 + pick(100);
    const auto logits = random_logits(n);
    const auto mask = random_mask(n);
    const auto params = random_params(n);
    auto row = logits;
    const auto drawn = sample_after(row, params, {}, 1, 3, mask);
    ASSERT_TRUE(drawn.ok());
    auto free_row = logits;
    const auto free = sample_after(free_row, params, {}, 1, static_cast<std::uint32_t>(n));
    ASSERT_TRUE(free.ok());
    for (std::size_t i = 0; i < drawn->top.size(); ++i) {
      ASSERT_EQ(drawn->top[i].id, free->top[i].id);
      ASSERT_EQ(drawn->top[i].logprob, free->top[i].logprob);
    }
    bool found = false;
    for (const TokenLogprob& each : free->top) {
      if (each.id != drawn->id) continue;
      found = true;
      ASSERT_EQ(drawn->logprob, each.logprob);
    }
    ASSERT_TRUE(found);
  }
}

TEST_F(Masked, AMaskOfEverythingChangesNoBit) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  for (int round = 0; round < 500; ++round) {
    const std::size_t n = 1 + pick(100);
    const auto logits = random_logits(n);
    std::vector<std::uint32_t> mask((n + 31) / 32, ~0U);
    if (n % 32 != 0) mask.back() = (1U << (n % 32)) - 1;
    ASSERT_TRUE(rules::check_mask(mask, static_cast<std::int32_t>(n)).ok());
    const auto params = random_params(n);
    auto row = logits;
    const auto masked = sample_after(row, params, {}, 5, 2, mask);
    row = logits;
    const auto free = sample_after(row, params, {}, 5, 2);
    ASSERT_TRUE(masked.ok() && free.ok());
    ASSERT_EQ(masked->id, free->id);
    ASSERT_EQ(masked->logprob, free->logprob);
  }
}

TEST(Mask, WhatTheModelRulesOutIsDrawnWhenNothingElseIsAllowed) {
  SamplingParams params;
  for (const float temperature : {0.0F, 1.0F}) {
    params.temperature = temperature;
    std::vector<float> logits = {1, -kInf, -kInf, 2};
    const auto drawn = sample_after(logits, params, {}, 0, 0, std::vector<std::uint32_t>{0b0110});
    ASSERT_TRUE(drawn.ok());
    EXPECT_EQ(drawn->id, 1);
    EXPECT_EQ(drawn->logprob, -kInf);
  }
}

}  // namespace
}  // namespace tandem::stage
