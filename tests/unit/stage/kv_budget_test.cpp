#include "stage/kv_budget.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace tandem::stage {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

TEST(KvBudget, IsWhatTheWeightsLeaveOfFourFifths) {
  EXPECT_EQ(default_kv_bytes(20 * kGiB, 0), 16 * kGiB);
  EXPECT_EQ(default_kv_bytes(20 * kGiB, 10 * kGiB), 6 * kGiB);
}

TEST(KvBudget, KeepsATwentiethForAModelThatFillsTheMemory) {
  EXPECT_EQ(default_kv_bytes(20 * kGiB, 15 * kGiB + kGiB / 2), kGiB);
  EXPECT_EQ(default_kv_bytes(20 * kGiB, 16 * kGiB), kGiB);
  EXPECT_EQ(default_kv_bytes(20 * kGiB, ~std::uint64_t{0}), kGiB);
  EXPECT_EQ(default_kv_bytes(0, kGiB), 0U);
}

TEST(KvBudget, RanksThatShareAMachineStayWithinFourFifthsOfIt) {
  constexpr std::uint64_t kFree = 24 * kGiB;
  constexpr std::uint64_t kWeights = 14 * kGiB;
  for (const std::uint64_t ranks : {1U, 2U, 3U, 4U, 8U}) {
    const std::uint64_t own = kWeights / ranks;
    const std::uint64_t kv = default_kv_bytes(kFree / ranks, own);
    EXPECT_LE(ranks * (own + kv), kFree / 5 * 4) << ranks;
    EXPECT_GT(ranks * (own + kv), kFree / 5 * 4 - kGiB) << ranks;
  }
}

}  // namespace
}  // namespace tandem::stage
