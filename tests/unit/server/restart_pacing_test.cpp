#include "server/serving/restart_pacing.h"

#include <gtest/gtest.h>

#include <chrono>

namespace tandem::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Clock::time_point kStart{seconds(1000)};

TEST(RestartPacing, TheFirstFailureIsAnsweredAtOnceAndWaitsDouble) {
  RestartPacing pacing(RestartLimits{});
  auto now = kStart;
  EXPECT_EQ(pacing.failed(now), Clock::duration(0));
  for (const int expected : {250, 500, 1000, 2000, 4000, 8000, 10000, 10000}) {
    const auto wait = pacing.failed(now);
    ASSERT_TRUE(wait.has_value());
    EXPECT_EQ(*wait, milliseconds(expected));
    now += *wait;
  }
}

TEST(RestartPacing, EndsWhenBothTimeAndTriesAreUsedUp) {
  RestartPacing pacing({.patience = seconds(60), .tries = 3});
  EXPECT_TRUE(pacing.failed(kStart).has_value());
  EXPECT_TRUE(pacing.failed(kStart + seconds(100)).has_value()) << "a load may take longer";
  EXPECT_TRUE(pacing.failed(kStart + seconds(200)).has_value());
  EXPECT_FALSE(pacing.failed(kStart + seconds(300)).has_value());
  RestartPacing quick({.patience = seconds(60), .tries = 3});
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(quick.failed(kStart + seconds(i)).has_value()) << "a short outage, many tries";
  }
  EXPECT_FALSE(quick.failed(kStart + seconds(60)).has_value());
}

TEST(RestartPacing, ACalmTimeEndsTheRow) {
  RestartPacing pacing({.patience = seconds(10), .tries = 1, .calm = seconds(60)});
  EXPECT_EQ(pacing.failed(kStart), Clock::duration(0));
  pacing.opened(kStart + seconds(1));
  EXPECT_EQ(pacing.failed(kStart + seconds(61)), Clock::duration(0)) << "a new row";
  pacing.opened(kStart + seconds(62));
  EXPECT_FALSE(pacing.failed(kStart + seconds(100)).has_value()) << "the same row";
}

TEST(RestartPacing, WithoutPatienceTheFirstFailureIsTheEnd) {
  RestartPacing pacing({.patience = seconds(0)});
  EXPECT_FALSE(pacing.failed(kStart).has_value());
}

}  // namespace
}  // namespace tandem::server
