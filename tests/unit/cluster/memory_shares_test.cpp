#include "cluster/gateway/memory_shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "stage/budget.h"

namespace tandem::cluster {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMB = 1'000'000;

models::ModelBytes model() {
  models::ModelBytes out;
  out.layers.assign(4, {100 * kMB, 20 * kMB});
  out.kv_page.assign(4, kMB);
  out.state.assign(4, 0);
  out.embedding = {50 * kMB, 0};
  out.head = {50 * kMB, 0};
  out.step_row = 10'000;
  out.logits_row = 10'000;
  return out;
}

const std::vector<LayerRange> kRanges = {{0, 3}, {3, 4}};

TEST(MemoryShares, AreWhatEachNeedsAndRoomForTheSameKv) {
  for (std::uint64_t memory = 700 * kMB; memory < 3000 * kMB; memory += 100 * kMB) {
    const auto shares = memory_shares(model(), kRanges, memory, 64);
    ASSERT_TRUE(shares.ok()) << shares.error().message;
    EXPECT_LE(std::accumulate(shares->begin(), shares->end(), std::uint64_t{0}), memory);
    for (std::size_t i = 0; i < kRanges.size(); ++i) {
      EXPECT_GE((*shares)[i], stage::least_memory(model(), kRanges[i], 64));
      EXPECT_TRUE(stage::kv_budget(model(), kRanges[i], (*shares)[i], 0, 64).ok());
    }
  }
}

TEST(MemoryShares, TooLittleForAllIsRefusedWithTheBytes) {
  const auto shares = memory_shares(model(), kRanges, 500 * kMB, 64);
  ASSERT_FALSE(shares.ok());
  EXPECT_EQ(shares.error().code, ErrorCode::kResourceLimit);
  EXPECT_THAT(shares.error().message, HasSubstr("2 ranks here need"));
  EXPECT_THAT(shares.error().message, HasSubstr("500 MB are free"));
}

}  // namespace
}  // namespace tandem::cluster
