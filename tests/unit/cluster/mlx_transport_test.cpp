// MLX's ring backend between processes. This process is the gateway; it is in one group at a time.

#include "cluster/link/mlx_transport.h"

#include <gtest/gtest.h>

#include <csignal>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cluster/link/mlx_exchange.h"
#include "cluster/link/ring_end.h"
#include "support/link_peers.h"

namespace tandem::cluster {
namespace {

using testing::milliseconds;
using testing::PeerProcess;
using testing::seconds;
using testing::seconds_since;

struct MlxRing {
  explicit MlxRing(int stages) {
    RingOptions options;
    options.transport = "mlx";
    options.cluster = "test cluster";
    options.epoch = 7;
    options.stages = stages;
    auto opened = RingEnd::open(options);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    gateway = std::move(*opened);
    std::vector<std::string> addresses = {gateway->address()};
    for (int rank = 0; rank < stages; ++rank) {
      peers.push_back(std::make_unique<PeerProcess>("mlx", rank, stages));
      addresses.push_back(peers.back()->address());
    }
    v1::StartRequest start;
    start.set_mlx_backend("ring");
    start.set_mlx_hostfile(ring_hostfile(addresses));
    for (auto& peer : peers) peer->start(start);
    const auto joined = gateway->join({"", "ring", start.mlx_hostfile()}, after(seconds(30)));
    EXPECT_TRUE(joined.ok()) << joined.error().message;
    for (auto& peer : peers) peer->expect_joined();
  }
  Transport& transport() { return gateway->transport(); }
  std::vector<std::unique_ptr<PeerProcess>> peers;
  std::unique_ptr<RingEnd> gateway;
};

TEST(MlxTransport, AGivenDataPortIsUsed) {
  RingOptions options;
  options.transport = "mlx";
  options.listen = "127.0.0.1:4567";
  const auto fixed = RingEnd::open(options);
  ASSERT_TRUE(fixed.ok()) << fixed.error().message;
  EXPECT_EQ((*fixed)->address(), "127.0.0.1:4567");
  options.listen = "127.0.0.1:0";
  const auto any = RingEnd::open(options);
  ASSERT_TRUE(any.ok()) << any.error().message;
  EXPECT_FALSE((*any)->address().ends_with(":0"));
}

TEST(MlxTransport, FramesOfEverySizeGoRoundThreeProcessesInOrder) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  MlxRing ring(2);
  std::vector<std::string> sent;
  std::size_t received = 0;
  constexpr std::size_t kFrames = 120;
  while (received < kFrames) {
    // Up to two in flight, as with two stages.
    if (sent.size() < kFrames && sent.size() - received < 2) {
      const std::size_t most = random() % 12 == 0 ? 3 * kFirstSlotBytes * 30 : 20000;
      std::string frame(random() % most, static_cast<char>('a' + sent.size() % 26));
      sent.push_back(frame);
      ASSERT_TRUE(ring.transport().send(std::move(frame), after(seconds(5))).ok());
      continue;
    }
    const auto frame = ring.transport().receive(after(seconds(30)));
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    ASSERT_EQ(*frame, sent[received]);
    ++received;
  }
  // Nothing in flight: no exchange, and the deadline is kept.
  const auto start = Clock::now();
  EXPECT_EQ(ring.transport().receive(after(milliseconds(200))).error().code,
            ErrorCode::kDeadlineExceeded);
  EXPECT_LT(seconds_since(start), 3);
  // And it lives on.
  ASSERT_TRUE(ring.transport().send("again", after(seconds(5))).ok());
  EXPECT_EQ(*ring.transport().receive(after(seconds(30))), "again");
}

TEST(MlxTransport, AKilledRankEndsTheWait) {
  MlxRing ring(2);
  ring.peers[1]->signal(SIGSTOP);
  ASSERT_TRUE(ring.transport().send("x", after(seconds(5))).ok());
  // A stopped rank: MLX says nothing, the deadline is kept all the same.
  EXPECT_EQ(ring.transport().receive(after(milliseconds(500))).error().code,
            ErrorCode::kDeadlineExceeded);
  const auto start = Clock::now();
  ring.peers[1]->signal(SIGKILL);
  const auto gone = ring.transport().receive(after(seconds(20)));
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code, ErrorCode::kUnavailable) << gone.error().message;
  EXPECT_LT(seconds_since(start), 5);
  EXPECT_EQ(ring.transport().send("y", after(seconds(1))).error().code, ErrorCode::kUnavailable);
}

TEST(MlxTransport, CloseWakesReceive) {
  MlxRing ring(1);
  auto waiting = std::async(std::launch::async, [&] {
    return ring.transport().receive(after(seconds(30))).error().code;
  });
  std::this_thread::sleep_for(milliseconds(100));
  const auto start = Clock::now();
  ring.transport().close();
  EXPECT_EQ(waiting.get(), ErrorCode::kCancelled);
  EXPECT_LT(seconds_since(start), 2);
}

TEST(MlxTransport, ABackendThatIsNotThereIsRefused) {
  MlxLinkOptions options;
  options.group.backend = "carrier pigeon";
  const auto got = MlxTransport::join(options, after(seconds(10)));
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().message, "mlx group (carrier pigeon): this MLX has no such backend");
  options.rank = 5;
  EXPECT_EQ(MlxTransport::join(options, after(seconds(1))).error().code,
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace tandem::cluster
