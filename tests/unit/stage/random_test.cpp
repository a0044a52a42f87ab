#include "stage/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace tandem::stage {
namespace {

using Words = std::array<std::uint32_t, 4>;

// The known answers that the authors publish with their Random123 library.
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, DependsOnEveryArgumentAndOnNothingElse) {
  const double one = uniform(1, 2, Draw::kToken);
  EXPECT_EQ(one, uniform(1, 2, Draw::kToken));
  EXPECT_NE(one, uniform(2, 2, Draw::kToken));
  EXPECT_NE(one, uniform(1, 3, Draw::kToken));
  EXPECT_NE(one, uniform(1, 2, Draw::kXtc));
  EXPECT_NE(one, uniform(1 + (std::uint64_t{1} << 32), 2, Draw::kToken));
  EXPECT_NE(one, uniform(1, 2 + (std::uint64_t{1} << 32), Draw::kToken));
}

TEST(Uniform, FillsTheUnitInterval) {
  double sum = 0;
  double low = 1;
  double high = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = uniform(7, static_cast<std::uint64_t>(i), Draw::kToken);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_LT(low, 0.001);
  EXPECT_GT(high, 0.999);
}

}  // namespace
}  // namespace tandem::stage
