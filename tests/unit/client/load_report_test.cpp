#include "client/load_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace tandem::client {
namespace {

TEST(Distribution, InterpolatesAsNumpyDoes) {
  // numpy.percentile([0.5, 1, 2, 4, 8, 16, 32], [50, 90, 95, 99])
  const Distribution got = distribution({32, 1, 0.5, 8, 2, 16, 4});
  EXPECT_DOUBLE_EQ(got.p50, 4);
  EXPECT_DOUBLE_EQ(got.p90, 22.4);
  EXPECT_NEAR(got.p95, 27.2, 1e-12);
  EXPECT_NEAR(got.p99, 31.04, 1e-12);
  EXPECT_DOUBLE_EQ(got.max, 32);
  EXPECT_DOUBLE_EQ(got.mean, 63.5 / 7);
}

TEST(Distribution, OfOneValueAndOfNone) {
  const Distribution one = distribution({3});
  for (const double value : {one.mean, one.p50, one.p90, one.p95, one.p99, one.max}) {
    EXPECT_EQ(value, 3);
  }
  EXPECT_EQ(distribution({}).max, 0);
}

TEST(Distribution, OrderDoesNotMatterAndPercentilesAscend) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 100; ++round) {
    std::vector<double> values(1 + random() % 300);
    for (double& value : values) value = static_cast<double>(random() % 1000);
    const Distribution got = distribution(values);
    std::ranges::shuffle(values, random);
    const Distribution again = distribution(values);
    EXPECT_EQ(got.p50, again.p50);
    EXPECT_EQ(got.p99, again.p99);
    const std::vector<double> ascending{got.p50, got.p90, got.p95, got.p99, got.max};
    EXPECT_TRUE(std::ranges::is_sorted(ascending));
    // At most a hundredth of the values lie above p99.
    const auto above = std::ranges::count_if(values, [&](double v) { return v > got.p99; });
    EXPECT_LE(above, static_cast<std::ptrdiff_t>((values.size() + 99) / 100));
  }
}

RequestSample sample(double first, double last, double whole, std::vector<float> gaps) {
  RequestSample out;
  out.first_piece = first;
  out.last_piece = last;
  out.whole = whole;
  out.gaps = std::move(gaps);
  out.prompt_tokens = 100;
  out.cached_tokens = 3;
  out.output_tokens = 5;
  return out;
}

TEST(Summary, RatesAndTimes) {
  const LevelReport got =
      summarize(2, 4.0, {sample(1, 2, 2.5, {0.25F, 0.75F}), sample(0.5, 2.5, 3, {2.0F})});
  EXPECT_EQ(got.streams, 2);
  EXPECT_EQ(got.completed, 2U);
  EXPECT_EQ(got.failed, 0U);
  EXPECT_EQ(got.prompt_tokens, 200U);
  EXPECT_EQ(got.cached_tokens, 6U);
  EXPECT_EQ(got.output_tokens, 10U);
  EXPECT_DOUBLE_EQ(got.requests_per_second, 0.5);
  EXPECT_DOUBLE_EQ(got.output_tps, 2.5);
  EXPECT_DOUBLE_EQ(got.total_tps, 52.5);
  EXPECT_DOUBLE_EQ(got.ttft.p50, 0.75);
  EXPECT_DOUBLE_EQ(got.itl.p50, 0.75);
  EXPECT_DOUBLE_EQ(got.itl.max, 2);
  EXPECT_DOUBLE_EQ(got.tpot.p50, 0.375);  // 1 s and 2 s over four tokens each
  EXPECT_DOUBLE_EQ(got.latency.mean, 2.75);
}

TEST(Summary, FailuresAreCountedAndMeasureNothing) {
  RequestSample failed = sample(9, 9, 9, {9});
  failed.error = "status 500: no";
  RequestSample later = failed;
  later.error = "status 503: busy";
  const LevelReport got = summarize(1, 2.0, {failed, sample(1, 2, 2, {1}), later});
  EXPECT_EQ(got.completed, 1U);
  EXPECT_EQ(got.failed, 2U);
  EXPECT_EQ(got.first_error, "status 500: no");
  EXPECT_EQ(got.output_tokens, 5U);
  EXPECT_EQ(got.latency.max, 2);
}

TEST(Summary, OneTokenHasNoTimePerToken) {
  RequestSample one = sample(1, 1, 1, {});
  one.output_tokens = 1;
  const LevelReport got = summarize(1, 1.0, {one});
  EXPECT_EQ(got.tpot.max, 0);
  EXPECT_EQ(got.itl.max, 0);
  EXPECT_EQ(summarize(1, 0, {}).total_tps, 0);
}

}  // namespace
}  // namespace tandem::client
