#include "cluster/split/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace tandem::cluster {
namespace {

double load(const ModelSizes& model, LayerRange range, double share) {
  return static_cast<double>(range_bytes(model, range)) / share;
}

double worst(const ModelSizes& model, const std::vector<LayerRange>& ranges,
             const std::vector<double>& shares) {
  double most = 0;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    most = std::max(most, load(model, ranges[i], shares[i]));
  }
  return most;
}

// The smallest largest load of all splits, by trying every one.
double best_by_search(const ModelSizes& model, const std::vector<double>& shares, std::size_t rank,
                      int first) {
  const int count = static_cast<int>(model.layers.size());
  if (rank + 1 == shares.size()) return load(model, {first, count}, shares[rank]);
  double best = 1e300;
  const int left = static_cast<int>(shares.size() - rank - 1);
  for (int last = first + 1; last <= count - left; ++last) {
    const double rest = best_by_search(model, shares, rank + 1, last);
    best = std::min(best, std::max(load(model, {first, last}, shares[rank]), rest));
  }
  return best;
}

ModelSizes random_model(std::mt19937& random, int layers) {
  std::uniform_int_distribution<std::uint64_t> bytes(0, 1000);
  ModelSizes model;
  for (int i = 0; i < layers; ++i) model.layers.push_back(bytes(random));
  model.embedding = bytes(random);
  model.head = bytes(random);
  model.kv_per_layer = bytes(random) / 10;
  return model;
}

TEST(Partition, EveryLayerOnExactlyOneRank) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 500; ++round) {
    const int layers = std::uniform_int_distribution(1, 80)(random);
    const int ranks = std::uniform_int_distribution(1, layers)(random);
    std::vector<double> shares;
    for (int i = 0; i < ranks; ++i) {
      shares.push_back(std::uniform_real_distribution(0.1, 10.0)(random));
    }
    const auto ranges = partition(random_model(random, layers), shares);
    ASSERT_TRUE(ranges.ok()) << ranges.error().message;
    ASSERT_EQ(ranges->size(), shares.size());
    int next = 0;
    for (const LayerRange range : *ranges) {
      ASSERT_EQ(range.first, next);
      ASSERT_GT(range.last, range.first);
      next = range.last;
    }
    ASSERT_EQ(next, layers);
  }
}

TEST(Partition, LargestLoadIsTheSmallestPossible) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    const int layers = std::uniform_int_distribution(1, 10)(random);
    const int ranks = std::uniform_int_distribution(1, std::min(layers, 5))(random);
    std::vector<double> shares;
    for (int i = 0; i < ranks; ++i) {
      shares.push_back(std::uniform_real_distribution(0.1, 10.0)(random));
    }
    const ModelSizes model = random_model(random, layers);
    const auto ranges = partition(model, shares);
    ASSERT_TRUE(ranges.ok());
    ASSERT_DOUBLE_EQ(worst(model, *ranges, shares), best_by_search(model, shares, 0, 0));
  }
}

TEST(Partition, EqualLayersAreSpreadEvenlyAndEarlierRanksHoldMore) {
  const ModelSizes model{std::vector<std::uint64_t>(10, 100), 0, 0, 0};
  const auto ranges = partition(model, std::vector<double>(4, 1.0));
  ASSERT_TRUE(ranges.ok());
  EXPECT_THAT(*ranges, testing::ElementsAre(LayerRange{0, 3}, LayerRange{3, 6}, LayerRange{6, 8},
                                            LayerRange{8, 10}));
}

TEST(Partition, EmbeddingAndHeadCount) {
  const ModelSizes heavy_head{std::vector<std::uint64_t>(6, 100), 0, 200, 0};
  const auto first_holds_more = partition(heavy_head, std::vector<double>(2, 1.0));
  ASSERT_TRUE(first_holds_more.ok());
  EXPECT_EQ((*first_holds_more)[0], (LayerRange{0, 4}));
  const ModelSizes heavy_embedding{std::vector<std::uint64_t>(6, 100), 200, 0, 0};
  const auto last_holds_more = partition(heavy_embedding, std::vector<double>(2, 1.0));
  ASSERT_TRUE(last_holds_more.ok());
  EXPECT_EQ((*last_holds_more)[0], (LayerRange{0, 2}));
}

// Tied: the first rank holds the embedding, the last one reads it whole as the head.
TEST(Partition, ByWhatATokenReadsTheEmbeddingWeighsNothing) {
  const ModelSizes tied{std::vector<std::uint64_t>(16, 34), 148, 148, 0};
  const std::vector<double> even(2, 1.0);
  const auto by_bytes = partition(tied, even);
  ASSERT_TRUE(by_bytes.ok());
  EXPECT_EQ((*by_bytes)[0], (LayerRange{0, 8}));
  const auto by_reading = partition(read_by_token(tied), even);
  ASSERT_TRUE(by_reading.ok());
  EXPECT_EQ((*by_reading)[0], (LayerRange{0, 10}));
}

TEST(Partition, SharesWeighTheRanks) {
  const ModelSizes model{std::vector<std::uint64_t>(12, 100), 0, 0, 0};
  const auto ranges = partition(model, std::vector<double>{3.0, 1.0});
  ASSERT_TRUE(ranges.ok());
  EXPECT_EQ((*ranges)[0], (LayerRange{0, 9}));
}

TEST(Partition, MoreRanksThanLayersNamesBothNumbers) {
  const ModelSizes model{std::vector<std::uint64_t>(3, 100), 0, 0, 0};
  const auto ranges = partition(model, std::vector<double>(4, 1.0));
  ASSERT_FALSE(ranges.ok());
  EXPECT_EQ(ranges.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(ranges.error().message, testing::HasSubstr("4 ranks"));
  EXPECT_THAT(ranges.error().message, testing::HasSubstr("3 layers"));
}

TEST(Partition, NoRanksAndBadSharesAreRefused) {
  const ModelSizes model{std::vector<std::uint64_t>(3, 100), 0, 0, 0};
  EXPECT_FALSE(partition(model, {}).ok());
  for (const double share : {0.0, -1.0, 1.0 / 0.0, 0.0 / 0.0}) {
    EXPECT_FALSE(partition(model, std::vector<double>{1.0, share}).ok()) << share;
  }
}

TEST(Partition, WeightlessModelIsStillSplit) {
  const ModelSizes model{std::vector<std::uint64_t>(4, 0), 0, 0, 0};
  const auto ranges = partition(model, std::vector<double>(4, 1.0));
  ASSERT_TRUE(ranges.ok());
  EXPECT_EQ(ranges->back(), (LayerRange{3, 4}));
}

// The smallest largest load of the splits that fit, by trying every one; infinite: none.
double best_fitting(const ModelSizes& model, const std::vector<std::uint64_t>& room,
                    std::size_t rank, int first) {
  const int count = static_cast<int>(model.layers.size());
  const int left = static_cast<int>(room.size() - rank - 1);
  double best = std::numeric_limits<double>::infinity();
  for (int last = left == 0 ? count : first + 1; last <= count - left; ++last) {
    if (range_bytes(model, {first, last}) > room[rank]) continue;
    const double rest = left == 0 ? 0 : best_fitting(model, room, rank + 1, last);
    best = std::min(best, std::max(load(model, {first, last}, 1), rest));
  }
  return best;
}

TEST(Partition, OnlyRangesThatFitAreTakenAndOfThoseTheBest) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    const int layers = std::uniform_int_distribution(1, 9)(random);
    const int ranks = std::uniform_int_distribution(1, std::min(layers, 4))(random);
    const ModelSizes model = random_model(random, layers);
    std::vector<std::uint64_t> room;
    for (int i = 0; i < ranks; ++i) {
      room.push_back(std::uniform_int_distribution<std::uint64_t>(0, 4000)(random));
    }
    const auto fits = [&](std::size_t rank, LayerRange range) {
      return range_bytes(model, range) <= room[rank];
    };
    const std::vector<double> shares(room.size(), 1.0);
    const auto ranges = partition(model, shares, fits);
    const double best = best_fitting(model, room, 0, 0);
    ASSERT_EQ(ranges.ok(), best < std::numeric_limits<double>::infinity());
    if (!ranges) {
      EXPECT_EQ(ranges.error().code, ErrorCode::kResourceLimit);
      ++refused;
      continue;
    }
    for (std::size_t i = 0; i < room.size(); ++i) EXPECT_TRUE(fits(i, (*ranges)[i]));
    EXPECT_DOUBLE_EQ(worst(model, *ranges, shares), best);
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 300);
}

}  // namespace
}  // namespace tandem::cluster
