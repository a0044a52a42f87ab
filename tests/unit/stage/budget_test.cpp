#include "stage/budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "tandem/limits.h"

namespace tandem::stage {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMB = 1'000'000;

// Four layers of 100 MB, 50 MB of embedding and of head, 1 MB of KV a page and layer.
models::ModelBytes model() {
  models::ModelBytes out;
  out.layers.assign(4, {100 * kMB, 20 * kMB});
  out.kv_page.assign(4, kMB);
  out.state.assign(4, 0);
  out.embedding = {50 * kMB, 0};
  out.head = {50 * kMB, 0};
  out.step_row = 100'000;
  out.logits_row = 10'000;
  return out;
}

constexpr LayerRange kAll{0, 4};
constexpr std::uint64_t kPlenty = 10'000 * kMB;

TEST(Budget, KvIsAsMuchAsWasAskedOrFourFifthsOfWhatIsLeft) {
  const std::uint64_t fixed = models::needs_of(model(), kAll, 2048).fixed();
  const std::uint64_t left = kPlenty - kPlenty / 20 - fixed;
  EXPECT_EQ(*kv_budget(model(), kAll, kPlenty, 0, 2048), left / 5 * 4);
  EXPECT_EQ(*kv_budget(model(), kAll, kPlenty, 77 * kMB, 2048), 77 * kMB);
  EXPECT_EQ(*kv_budget(model(), kAll, kPlenty, 2 * kPlenty, 2048), left) << "no more than is there";
}

TEST(Budget, NothingIsGivenTwiceAtAnySize) {
  for (std::uint64_t memory = 0; memory < 1200 * kMB; memory += kMB) {
    for (const std::uint64_t kv : {std::uint64_t{0}, 8 * kMB, 500 * kMB}) {
      const std::uint32_t rows = fitting_rows(model(), kAll, memory, kv, 2048);
      EXPECT_GE(rows, kLeastRows);
      EXPECT_LE(rows, 2048U);
      const auto budget = kv_budget(model(), kAll, memory, kv, rows);
      EXPECT_EQ(budget.ok(), memory >= least_memory(model(), kAll, rows)) << memory;
      if (!budget.ok()) {
        EXPECT_EQ(budget.error().code, ErrorCode::kResourceLimit);
        EXPECT_THAT(budget.error().message, HasSubstr("are needed and"));
        EXPECT_EQ(rows, kLeastRows) << "smaller steps are tried first";
        continue;
      }
      const models::MemoryNeeds needs = models::needs_of(model(), kAll, rows);
      EXPECT_LE(needs.fixed() + *budget + memory / 20, memory) << memory;
      EXPECT_GE(*budget, needs.kv_page) << memory;
    }
  }
}

TEST(Budget, AFewRowsAreNeverMoreThanAsked) {
  EXPECT_EQ(fitting_rows(model(), kAll, 0, 0, 16), 16U);
  EXPECT_EQ(fitting_rows(model(), kAll, kPlenty, 0, 2048), 2048U);
}

TEST(Budget, KvThatHoldsNoPageIsRefused) {
  const auto refused = kv_budget(model(), kAll, kPlenty, 3 * kMB, 2048);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "KV memory: 3.00 MB hold not even 64 tokens, which take 4.00 MB: --kv-bits 8 would "
            "help");
}

TEST(Needs, AreTheRangesOwn) {
  const models::ModelBytes bytes = model();
  EXPECT_EQ(models::needs_of(bytes, {0, 1}, 1).weights, 150 * kMB);
  EXPECT_EQ(models::needs_of(bytes, {1, 3}, 1).weights, 200 * kMB);
  EXPECT_EQ(models::needs_of(bytes, {3, 4}, 1).weights, 150 * kMB);
  EXPECT_EQ(models::needs_of(bytes, {1, 3}, 1).kv_page, 2 * kMB);
  EXPECT_EQ(models::needs_of(bytes, {1, 3}, 7).step, 700'000U);
  EXPECT_GT(models::needs_of(bytes, {1, 4}, 7).step, 700'000U) << "and the head's logits";
  models::ModelBytes tied = bytes;
  tied.tied = true;
  EXPECT_EQ(models::needs_of(tied, kAll, 1).weights, 450 * kMB) << "one table is both";
  EXPECT_EQ(models::needs_of(tied, {3, 4}, 1).weights, 150 * kMB);
}

}  // namespace
}  // namespace tandem::stage
