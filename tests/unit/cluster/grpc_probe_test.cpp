// Timing a link while frames use it.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <thread>

#include "support/link_peers.h"

namespace tandem::cluster {
namespace {

using testing::make_ring;
using testing::milliseconds;
using testing::seconds;
using testing::seconds_since;

std::string frame_of(std::uint32_t number) {
  return std::to_string(number) + std::string(number * 100, 'x');
}

TEST(GrpcProbe, TimesTheLinkAndLeavesFramesAlone) {
  auto ring = make_ring(2);
  EXPECT_EQ(ring[0]->round_trip(), std::nullopt);
  std::thread sender([&] {
    for (std::uint32_t i = 0; i < 300; ++i) {
      ASSERT_TRUE(ring[0]->send(frame_of(i), after(seconds(20))).ok());
      ring[0]->probe();
      ring[2]->probe();
    }
  });
  for (std::uint32_t i = 0; i < 300; ++i) {
    const auto frame = ring[1]->receive(after(seconds(20)));
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    EXPECT_EQ(*frame, frame_of(i));
  }
  sender.join();
  const auto start = Clock::now();
  while (!(ring[0]->round_trip() && ring[2]->round_trip()) && seconds_since(start) < 20) {
    ring[0]->probe();
    ring[2]->probe();
    std::this_thread::sleep_for(milliseconds(1));
  }
  ASSERT_TRUE(ring[0]->round_trip() && ring[2]->round_trip());
  EXPECT_GT(*ring[0]->round_trip(), Clock::duration::zero());
  EXPECT_LT(*ring[0]->round_trip(), seconds(20));
  EXPECT_EQ(ring[1]->round_trip(), std::nullopt) << "nobody asked this one";
  EXPECT_EQ(ring[1]->stats().frames_received, 300U) << "a probe is no frame";
  ASSERT_TRUE(ring[0]->drain(after(seconds(5))).ok());
}

}  // namespace
}  // namespace tandem::cluster
