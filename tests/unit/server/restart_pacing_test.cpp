#include "server/serving/restart_pacing.h"

#include <gtest/gtest.h>

#include <chrono>

namespace tandem::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Clock::time_point kStart{seconds(1000)};

TEST(RestartPacing, TheFirstFailureIsAnsweredAtOnceAndWaitsDoubleForEver) {
  RestartPacing pacing(RestartLimits{});
  auto now = kStart;
  EXPECT_EQ(pacing.died(now).wait, Clock::duration(0));
  for (const int expected : {250, 500, 1000, 2000, 2000, 2000}) {
    const auto next = pacing.not_opened(now);
    EXPECT_EQ(next.wait, milliseconds(expected));
    EXPECT_FALSE(next.resting);
    now += next.wait;
  }
  EXPECT_EQ(pacing.not_opened(now + std::chrono::hours(24)).wait, seconds(2));
}

TEST(RestartPacing, ATokenBeginsTheCountAnew) {
  RestartPacing pacing(RestartLimits{});
  for (int i = 0; i < 16; ++i) {  // each one survived
    EXPECT_EQ(pacing.died(kStart + seconds(20 * i)).wait, Clock::duration(0));
    pacing.got_on();
  }
}

TEST(RestartPacing, ThreeDeathsInHalfAMinuteMakeItRest) {
  RestartPacing pacing(RestartLimits{});
  EXPECT_FALSE(pacing.died(kStart).resting);
  pacing.got_on();
  EXPECT_FALSE(pacing.died(kStart + seconds(10)).resting);
  const auto third = pacing.died(kStart + seconds(20));
  EXPECT_TRUE(third.resting);
  EXPECT_EQ(third.wait, seconds(30));
  EXPECT_FALSE(pacing.died(kStart + seconds(60)).resting) << "counted anew";
}

TEST(RestartPacing, RequestsWaitForItsTimeoutFromTheFirstFailureToTheFirstToken) {
  RestartPacing pacing({.recovery_timeout = seconds(60)});
  EXPECT_FALSE(pacing.overdue(kStart));
  pacing.died(kStart);
  pacing.not_opened(kStart + seconds(30));
  EXPECT_FALSE(pacing.overdue(kStart + seconds(59)));
  EXPECT_TRUE(pacing.overdue(kStart + seconds(60)));
  pacing.got_on();
  EXPECT_FALSE(pacing.overdue(kStart + seconds(61)));
  RestartPacing patient({.recovery_timeout = seconds(0)});
  patient.died(kStart);
  EXPECT_FALSE(patient.overdue(kStart + std::chrono::hours(1000)));
}

}  // namespace
}  // namespace tandem::server
