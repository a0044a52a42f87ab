#include "cluster/gateway/quarantine.h"

#include <gtest/gtest.h>

#include <chrono>

#include "cluster/timing.h"

namespace tandem::cluster {
namespace {

using std::chrono::seconds;

constexpr Clock::time_point kStart{seconds(1000)};

TEST(Quarantine, ThreeDeathsInHalfAMinuteMakeOneRankRestAndNoOther) {
  Quarantine quarantine;
  quarantine.died("rank 0", true, kStart);
  quarantine.died("rank 1", true, kStart);
  quarantine.died("rank 1", true, kStart + seconds(10));
  EXPECT_FALSE(quarantine.holds("rank 1", kStart + seconds(10)));
  quarantine.died("rank 1", true, kStart + seconds(20));
  EXPECT_TRUE(quarantine.holds("rank 1", kStart + seconds(20)));
  EXPECT_FALSE(quarantine.holds("rank 0", kStart + seconds(20)));
  EXPECT_TRUE(quarantine.holds("rank 1", kStart + seconds(49)));
  EXPECT_FALSE(quarantine.holds("rank 1", kStart + seconds(50)));
  quarantine.died("rank 1", true, kStart + seconds(51));
  EXPECT_FALSE(quarantine.holds("rank 1", kStart + seconds(51))) << "counted anew";
}

TEST(Quarantine, DeathsFarApartAreNotCountedTogether) {
  Quarantine quarantine;
  for (int i = 0; i < 20; ++i) {
    quarantine.died("rank 0", true, kStart + seconds(16 * i));
    EXPECT_FALSE(quarantine.holds("rank 0", kStart + seconds(16 * i)));
  }
}

TEST(Quarantine, ARequestThatKillsItThreeTimesCostsNoRest) {
  Quarantine quarantine;
  for (int i = 0; i < 3; ++i) quarantine.died("rank 0", false, kStart + seconds(i));
  EXPECT_FALSE(quarantine.holds("rank 0", kStart + seconds(2)));
  quarantine.died("rank 0", false, kStart + seconds(3));
  EXPECT_TRUE(quarantine.holds("rank 0", kStart + seconds(3))) << "it is not the request";
}

}  // namespace
}  // namespace tandem::cluster
