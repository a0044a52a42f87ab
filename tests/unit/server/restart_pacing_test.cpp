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
  EXPECT_EQ(pacing.failed(now), Clock::duration(0));
  for (const int expected : {250, 500, 1000, 2000, 2000, 2000}) {
    const Clock::duration wait = pacing.failed(now);
    EXPECT_EQ(wait, milliseconds(expected));
    now += wait;
  }
  EXPECT_EQ(pacing.failed(now + std::chrono::hours(24)), seconds(2));
}

TEST(RestartPacing, ATokenBeginsTheCountAnew) {
  RestartPacing pacing(RestartLimits{});
  for (int i = 0; i < 16; ++i) {  // each one survived
    EXPECT_EQ(pacing.failed(kStart + seconds(20 * i)), Clock::duration(0));
    pacing.got_on();
  }
}

TEST(RestartPacing, RequestsWaitForItsTimeoutFromTheFirstFailureToTheFirstToken) {
  RestartPacing pacing({.recovery_timeout = seconds(60)});
  EXPECT_FALSE(pacing.overdue(kStart));
  pacing.failed(kStart);
  pacing.failed(kStart + seconds(30));
  EXPECT_FALSE(pacing.overdue(kStart + seconds(59)));
  EXPECT_TRUE(pacing.overdue(kStart + seconds(60)));
  pacing.got_on();
  EXPECT_FALSE(pacing.overdue(kStart + seconds(61)));
  RestartPacing patient({.recovery_timeout = seconds(0)});
  patient.failed(kStart);
  EXPECT_FALSE(patient.overdue(kStart + std::chrono::hours(1000)));
}

}  // namespace
}  // namespace tandem::server
