#include "stage/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "stage/distribution.h"
#include "unit/stage/sampled.h"

namespace tandem::stage {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(std::size_t n, unsigned seed, float scale = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

double log_sum_exp(const std::vector<float>& logits) {
  long double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<long double>(logit));
  return static_cast<double>(std::log(sum));
}

TEST(Distribution, TheFastExponentialIsExactEnough) {
  for (float x = -86.9F; x <= 0; x += 0.00137F) {
    const double exact = std::exp(static_cast<double>(x));
    ASSERT_NEAR(exp_negative(x) / exact, 1, 2e-7) << x;
  }
  EXPECT_EQ(exp_negative(0), 1);
  EXPECT_EQ(exp_negative(-88), 0);
  EXPECT_EQ(exp_negative(-kInf), 0);
}

TEST(Distribution, LogProbabilitiesAreExactAtEverySize) {
  for (const std::size_t n : {1U, 2U, 15U, 16U, 17U, 1023U, 1024U, 1025U, 50257U}) {
    const auto logits = random_logits(n, static_cast<unsigned>(n));
    const auto distribution = softmax(logits);
    ASSERT_TRUE(distribution.has_value());
    EXPECT_NEAR(distribution->log_sum, log_sum_exp(logits), 1e-6) << n;
  }
}

TEST(Distribution, TheBestAreSortedWithTiesByLowerId) {
  const std::vector<float> values = {1, 3, 2, 3, -kInf, 2, 0};
  const auto best = best_of(values, 5);
  std::vector<std::int32_t> ids;
  for (const auto& each : best) ids.push_back(each.id);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{1, 3, 2, 5, 0}));
  EXPECT_EQ(best_of(values, 100).size(), 6U) << "what cannot happen is no candidate";
  EXPECT_TRUE(best_of(values, 0).empty());
}

TEST(Distribution, BestAgreesWithASort) {
  const auto logits = random_logits(5000, 11);
  std::vector<Candidate> all;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    all.push_back({static_cast<std::int32_t>(i), logits[i]});
  }
  std::sort(all.begin(), all.end(), better);
  const auto best = best_of(logits, 321);
  for (std::size_t i = 0; i < best.size(); ++i) ASSERT_EQ(best[i].id, all[i].id) << i;
}

TEST(Sample, GreedyTakesTheLowestIdOfTheBest) {
  std::vector<float> logits = {0, 5, 5, 1};
  const auto token = sample_after(logits, {}, {}, 0, 3);
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->id, 1);
  EXPECT_NEAR(token->logprob, 5 - log_sum_exp({0, 5, 5, 1}), 1e-6);
  ASSERT_EQ(token->top.size(), 3U);
  EXPECT_EQ(token->top[0].id, 1);
  EXPECT_EQ(token->top[1].id, 2);
  EXPECT_EQ(token->top[2].id, 3);
  EXPECT_EQ(token->top[0].logprob, token->logprob);
}

TEST(Sample, LogitsThatAreNoNumbersAreAnError) {
  for (const float bad : {kNan, kInf}) {
    std::vector<float> logits = {0, bad, 1};
    EXPECT_FALSE(sample_after(logits, {}, {}, 0, 0).ok());
    EXPECT_FALSE(score(logits, 0, 0).ok());
  }
  std::vector<float> nothing = {-kInf, -kInf};
  EXPECT_FALSE(sample_after(nothing, {}, {}, 0, 0).ok());
  std::vector<float> masked = {-kInf, 1};
  EXPECT_EQ(sample_after(masked, {}, {}, 0, 0)->id, 1);
}

TEST(Sample, TheDrawDependsOnSeedAndPositionOnly) {
  SamplingParams params;
  params.temperature = 1;
  params.seed = 99;
  std::map<std::int32_t, int> seen;
  for (std::uint64_t position = 0; position < 50; ++position) {
    auto first = random_logits(1000, 5);
    auto second = first;
    const auto a = sample_after(first, params, {}, position, 0);
    const auto b = sample_after(second, params, {}, position, 5);
    ASSERT_EQ(a->id, b->id);
    ++seen[a->id];
  }
  EXPECT_GT(seen.size(), 5U);
}

TEST(Sample, LogprobsAreOfTheDistributionBeforeTemperatureAndFilters) {
  SamplingParams params;
  params.temperature = 3;
  params.top_k = 1;
  const auto logits = random_logits(100, 6);
  auto scratch = logits;
  const auto token = sample_after(scratch, params, {}, 0, 2);
  EXPECT_NEAR(token->logprob, logits[static_cast<std::size_t>(token->id)] - log_sum_exp(logits),
              1e-5);
  EXPECT_EQ(token->top[0].id, token->id);
  EXPECT_EQ(token->top.size(), 2U);
}

/// Pearson's statistic over cells that expect at least 5, against its mean + 5 deviations.
void expect_distribution(const std::vector<double>& expected, const SamplingParams& params,
                         const std::vector<float>& logits, int draws) {
  std::vector<int> counts(logits.size(), 0);
  for (int i = 0; i < draws; ++i) {
    auto scratch = logits;
    const auto token = sample_after(scratch, params, {}, static_cast<std::uint64_t>(i), 0);
    ASSERT_TRUE(token.ok());
    ++counts[static_cast<std::size_t>(token->id)];
  }
  double statistic = 0;
  int cells = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double mean = expected[i] * draws;
    EXPECT_TRUE(mean > 0 || counts[i] == 0) << "token " << i << " was filtered";
    if (mean < 5) continue;
    statistic += (counts[i] - mean) * (counts[i] - mean) / mean;
    ++cells;
  }
  ASSERT_GT(cells, 1);
  EXPECT_LT(statistic, cells + 5 * std::sqrt(2.0 * cells));
}

std::vector<double> softmax_at(const std::vector<float>& logits, double temperature) {
  std::vector<double> p;
  double sum = 0;
  for (const float logit : logits) {
    p.push_back(std::exp(logit / temperature));
    sum += p.back();
  }
  for (double& each : p) each /= sum;
  return p;
}

TEST(Sample, DrawsFollowTheTemperature) {
  SamplingParams params;
  params.seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(params.seed));
  const auto logits = random_logits(40, 7, 1);
  for (const float temperature : {0.5F, 1.0F, 2.0F}) {
    params.temperature = temperature;
    expect_distribution(softmax_at(logits, temperature), params, logits, 20000);
  }
}

TEST(Sample, FilteredDrawsAreRenormalized) {
  SamplingParams params;
  params.temperature = 1;
  params.top_k = 5;
  params.seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(params.seed));
  const auto logits = random_logits(40, 8, 1);
  std::vector<float> masked(logits.size(), -kInf);
  for (const auto& each : best_of(logits, 5))
    masked[static_cast<std::size_t>(each.id)] = each.value;
  expect_distribution(softmax_at(masked, 1), params, logits, 20000);
}

TEST(Sample, XtcHappensAsOftenAsItsProbabilitySays) {
  SamplingParams params;
  params.temperature = 0.001F;  // the best that is left
  params.xtc_probability = 0.25F;
  params.xtc_threshold = 0.1F;
  params.seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(params.seed));
  int other = 0;
  for (std::uint64_t position = 0; position < 10000; ++position) {
    std::vector<float> logits = {2, 1.5F, 1, -9};
    const auto token = sample_after(logits, params, {}, position, 0);
    ASSERT_TRUE(token->id == 0 || token->id == 2) << token->id;
    other += token->id == 2;
  }
  EXPECT_NEAR(other / 10000.0, 0.25, 5 * std::sqrt(0.25 * 0.75 / 10000));
}

TEST(Sample, ExtremeTemperaturesStayFinite) {
  for (const float temperature : {1e-30F, 1e-6F, 1e6F}) {
    SamplingParams params;
    params.temperature = temperature;
    auto logits = random_logits(100, 9);
    const auto token = sample_after(logits, params, {}, 3, 0);
    ASSERT_TRUE(token.ok());
    EXPECT_TRUE(std::isfinite(token->logprob));
  }
}

TEST(Sample, TinyRepetitionPenaltiesStayFinite) {
  for (const float penalty : {1e-45F, 1e-38F, 1e-7F}) {
    SamplingParams params;
    params.repetition_penalty = penalty;
    params.logit_bias = {{7, 100.0F}};
    auto logits = random_logits(100, 9);
    const auto token = sample_after(logits, params, std::vector<std::int32_t>{7, 8, 9}, 3, 2);
    ASSERT_TRUE(token.ok()) << penalty;
    EXPECT_EQ(token->id, 7);
    EXPECT_TRUE(std::isfinite(token->logprob));
  }
}

TEST(Score, GivesTheProbabilityOfAnyToken) {
  const auto logits = random_logits(64, 10);
  for (const std::int32_t id : {0, 31, 63}) {
    const auto scored = score(logits, id, 2);
    ASSERT_TRUE(scored.ok());
    EXPECT_EQ(scored->id, id);
    EXPECT_NEAR(scored->logprob, logits[static_cast<std::size_t>(id)] - log_sum_exp(logits), 1e-5);
    EXPECT_EQ(scored->top.size(), 2U);
  }
}

}  // namespace
}  // namespace tandem::stage
