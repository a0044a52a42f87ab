#include "cluster/link/link_pace.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tandem::cluster {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// Sends pieces over a link of `rate` bytes a second and `delay` there and back.
std::size_t settle(LinkPace& pace, double rate, Clock::duration delay, int pieces,
                   std::uint64_t& probe) {
  Clock::time_point now{std::chrono::seconds(1)};
  for (int i = 0; i < pieces; ++i) {
    const std::size_t bytes = pace.piece();
    EXPECT_TRUE(pace.tells(bytes));
    pace.sent(bytes, now, ++probe);
    EXPECT_FALSE(pace.tells(bytes)) << "one at a time";
    const auto took =
        microseconds(static_cast<std::int64_t>(static_cast<double>(bytes) / rate * 1e6));
    now += took + delay;
    pace.answered(probe, now, delay);
  }
  return pace.piece();
}

TEST(LinkPace, APieceTakesAQuarterOfASecondAndAFastLinkIsKnownByItsFirst) {
  std::uint64_t probe = 0;
  LinkPace pace;
  EXPECT_EQ(pace.piece(), LinkPace::kLeastBytes);
  EXPECT_EQ(settle(pace, 1e9, milliseconds(1), 1, probe), kMaxChunkBytes);
  EXPECT_EQ(settle(pace, 30e3, milliseconds(500), 2, probe), LinkPace::kLeastBytes);
  EXPECT_NEAR(static_cast<double>(settle(pace, 400e3, milliseconds(500), 3, probe)), 100e3, 1e3);
}

TEST(LinkPace, OnlyTheProbeBehindThePieceOrALaterOneCounts) {
  LinkPace pace;
  const Clock::time_point now{std::chrono::seconds(1)};
  pace.sent(LinkPace::kLeastBytes, now, 5);
  pace.answered(4, now + milliseconds(1), {});
  EXPECT_EQ(pace.piece(), LinkPace::kLeastBytes);
  pace.answered(6, now + milliseconds(1), {});
  EXPECT_EQ(pace.piece(), kMaxChunkBytes);
  pace.sent(1 << 20, now, 7);
  pace.answered(7, now, milliseconds(3));  // sooner than it should be
  EXPECT_EQ(pace.piece(), kMaxChunkBytes);
}

}  // namespace
}  // namespace tandem::cluster
