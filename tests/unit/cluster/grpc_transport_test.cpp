#include "cluster/link/grpc_transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <future>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cluster/wire/frame_chunks.h"
#include "support/link_peers.h"

namespace tandem::cluster {
namespace {

using testing::link_options;
using testing::listen;
using testing::make_ring;
using testing::milliseconds;
using testing::PeerProcess;
using testing::seconds;
using testing::seconds_since;

std::string numbered(std::uint32_t number, std::size_t bytes) {
  std::string frame = std::to_string(number) + ":";
  frame.resize(std::max(frame.size(), bytes), static_cast<char>('a' + number % 26));
  return frame;
}

TEST(GrpcTransport, FramesOfEverySizeArriveOnceAndInOrderUnderLoad) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  auto ring = make_ring(2);
  constexpr std::uint32_t kFrames = 1500;
  const auto size_of_frame = [&](std::size_t rank, std::uint32_t i) {
    std::mt19937 random(seed + static_cast<unsigned>(rank) * 100003 + i);
    return i % 97 == 0 ? random() % 5000000 : random() % 30000;
  };
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < ring.size(); ++rank) {
    threads.emplace_back([&, rank] {
      for (std::uint32_t i = 0; i < kFrames; ++i) {
        const auto sent = ring[rank]->send(numbered(i, size_of_frame(rank, i)), after(seconds(30)));
        ASSERT_TRUE(sent.ok()) << sent.error().message;
      }
    });
    threads.emplace_back([&, rank] {
      const std::size_t from = (rank + ring.size() - 1) % ring.size();
      for (std::uint32_t i = 0; i < kFrames; ++i) {
        const auto frame = ring[rank]->receive(after(seconds(30)));
        ASSERT_TRUE(frame.ok()) << frame.error().message;
        ASSERT_EQ(*frame, numbered(i, size_of_frame(from, i)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& rank : ring) {
    EXPECT_EQ(rank->stats().frames_received, kFrames);
    EXPECT_FALSE(rank->receive(after(milliseconds(20))).ok());
  }
}

// Pieces that begin and end anywhere in the link's own messages of 1 MiB.
TEST(GrpcTransport, TheTwoPiecesOfAFrameArriveAsOneAndAreLetGo) {
  auto ring = make_ring(1);
  std::vector<std::weak_ptr<const void>> sent;
  for (const std::size_t head : {std::size_t{0}, std::size_t{10}, kMaxChunkBytes - 1,
                                 kMaxChunkBytes, kMaxChunkBytes + 1, 2 * kMaxChunkBytes}) {
    for (const std::size_t body : {std::size_t{0}, std::size_t{1}, 3 * kMaxChunkBytes + 7}) {
      const std::string first = numbered(1, head).substr(0, head);
      const std::string second = numbered(2, body).substr(0, body);
      const auto bytes = std::as_bytes(std::span(second));
      EncodedFrame frame(first, SharedBytes({bytes.begin(), bytes.end()}));
      sent.push_back(frame.body.owner());
      ASSERT_TRUE(ring[0]->send(std::move(frame), after(seconds(5))).ok());
      EXPECT_EQ(*ring[1]->receive(after(seconds(20))), first + second);
    }
  }
  const Deadline end = after(seconds(20));
  const auto held = [&] {
    return std::ranges::any_of(sent, [](const auto& owner) { return !owner.expired(); });
  };
  while (held() && Clock::now() < end) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_FALSE(held());
}

TEST(GrpcTransport, EndsAlsoWhenItsThreadsTakeLongerThanTheyAreGiven) {
  for (int round = 0; round < 5; ++round) {
    auto options = link_options(0, 1);
    options.end_within = milliseconds(0);
    auto end = GrpcTransport::listen(options);
    ASSERT_TRUE(end.ok());
    EXPECT_FALSE((*end)->connect("127.0.0.1:1", after(milliseconds(100))).ok());
  }  // what gRPC still does ends behind our back
}

TEST(GrpcTransport, AnEmptyFrameIsAFrame) {
  auto ring = make_ring(1);
  ASSERT_TRUE(ring[0]->send("", after(seconds(1))).ok());
  ASSERT_TRUE(ring[0]->send("x", after(seconds(1))).ok());
  EXPECT_EQ(*ring[1]->receive(after(seconds(5))), "");
  EXPECT_EQ(*ring[1]->receive(after(seconds(5))), "x");
}

TEST(GrpcTransport, ADeadlineIsKeptAndTheLinkLivesOn) {
  auto ring = make_ring(2);
  const auto start = Clock::now();
  const auto nothing = ring[0]->receive(after(milliseconds(100)));
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(nothing.error().message, "no frame from rank 1 in time");
  EXPECT_GE(seconds_since(start), 0.1);
  EXPECT_LT(seconds_since(start), 2);
  ASSERT_TRUE(ring[2]->send("late", after(seconds(1))).ok());
  EXPECT_EQ(*ring[0]->receive(after(seconds(5))), "late");
}

TEST(GrpcTransport, CloseWakesEveryBlockedCall) {
  auto ring = make_ring(1);
  auto lonely = listen(link_options(0, 1));
  std::vector<std::future<ErrorCode>> calls;
  calls.push_back(std::async(std::launch::async,
                             [&] { return ring[1]->receive(after(seconds(30))).error().code; }));
  calls.push_back(std::async(std::launch::async, [&] {
    return lonely->connect("127.0.0.1:1", after(seconds(30))).error().code;
  }));
  calls.push_back(std::async(std::launch::async, [&] {
    while (true) {
      const auto sent = ring[1]->send(std::string(1 << 20, 'x'), after(seconds(30)));
      if (!sent.ok()) return sent.error().code;
    }
  }));
  std::this_thread::sleep_for(milliseconds(300));
  const auto start = Clock::now();
  ring[1]->close();
  lonely->close();
  ring[0]->close();
  for (auto& call : calls) EXPECT_EQ(call.get(), ErrorCode::kCancelled);
  EXPECT_LT(seconds_since(start), 2);
  EXPECT_EQ(ring[0]->receive(after(seconds(1))).error().code, ErrorCode::kCancelled);
  EXPECT_EQ(ring[0]->send("x", after(seconds(1))).error().code, ErrorCode::kCancelled);
}

TEST(GrpcTransport, ConnectAfterCloseIsCancelledAtOnce) {
  auto link = listen(link_options(0, 1));
  link->close();
  const auto begin = Clock::now();
  const auto connected = link->connect("127.0.0.1:1", after(seconds(30)));
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.error().code, ErrorCode::kCancelled);
  link.reset();  // would wait for a stream that nothing cancels
  EXPECT_LT(seconds_since(begin), 5.0);
}

TEST(GrpcTransport, APeerThatDoesNotReadMakesSendWaitAndLosesNothing) {
  auto ring = make_ring(1);
  std::uint32_t sent = 0;
  while (true) {
    const auto ok = ring[0]->send(numbered(sent, 1 << 20), after(milliseconds(300)));
    if (!ok.ok()) {
      EXPECT_EQ(ok.error().code, ErrorCode::kDeadlineExceeded);
      EXPECT_EQ(ok.error().message, "rank 0 takes no frames");
      break;
    }
    ++sent;
    ASSERT_LT(sent, 400u) << "the queues grow without bound";
  }
  EXPECT_GE(sent, static_cast<std::uint32_t>(kMaxQueuedFrames));
  for (std::uint32_t i = 0; i < sent; ++i) {
    const auto frame = ring[1]->receive(after(seconds(10)));
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    ASSERT_EQ(*frame, numbered(i, 1 << 20));
  }
}

TEST(GrpcTransport, DrainDeliversEverythingBeforeTheEnd) {
  auto ring = make_ring(1);
  for (std::uint32_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(ring[1]->send(numbered(i, 300000), after(seconds(5))).ok());
  }
  const auto drained = ring[1]->drain(after(seconds(10)));
  EXPECT_TRUE(drained.ok()) << drained.error().message;
  ring[1].reset();
  for (std::uint32_t i = 0; i < 50; ++i) {
    const auto frame = ring[0]->receive(after(seconds(5)));
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    ASSERT_EQ(*frame, numbered(i, 300000));
  }
  EXPECT_EQ(ring[0]->receive(after(seconds(5))).error().code, ErrorCode::kUnavailable);
}

TEST(GrpcTransport, IdleRanksUseNoCpu) {
  auto ring = make_ring(2);
  std::vector<std::thread> threads;
  for (auto& rank : ring) {
    threads.emplace_back([&] { EXPECT_FALSE(rank->receive(after(seconds(2))).ok()); });
  }
  std::this_thread::sleep_for(milliseconds(300));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(milliseconds(1500));
  const double used = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(used, 0.15) << "seconds of CPU in 1.5 s, three idle ranks";
}

TEST(GrpcTransport, OptionsAndAddressesAreChecked) {
  auto options = link_options(2, 2);
  EXPECT_EQ(GrpcTransport::listen(options).error().code, ErrorCode::kInvalidArgument);
  options = link_options(0, 2);
  options.cluster.clear();
  EXPECT_EQ(GrpcTransport::listen(options).error().code, ErrorCode::kInvalidArgument);
  options = link_options(0, 2);
  options.listen = "0.0.0.0:0";
  EXPECT_NE(GrpcTransport::listen(options).error().message.find("only loopback"),
            std::string::npos);
  const auto first = listen(link_options(0, 2));
  options.listen = first->address();
  const auto second = GrpcTransport::listen(options);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(second.error().message.find(first->address()), std::string::npos);
  EXPECT_EQ(first->connect("192.0.2.1:5", after(seconds(1))).error().code,
            ErrorCode::kInvalidArgument);
}

TEST(GrpcTransport, AMissingNeighbourIsNamed) {
  const auto gateway = listen(link_options(kGatewayRank, 2));
  const auto start = Clock::now();
  const auto joined = gateway->connect("127.0.0.1:1", after(milliseconds(400)));
  ASSERT_FALSE(joined.ok());
  EXPECT_EQ(joined.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(joined.error().message.rfind("rank 0 at 127.0.0.1:1 was not reached in time", 0), 0u)
      << joined.error().message;
  EXPECT_LT(seconds_since(start), 3);
}

// A gateway and stage 0 here, stage 1 in a process of its own.
struct MixedRing {
  MixedRing()
      : gateway(listen(link_options(kGatewayRank, 2))),
        stage(listen(link_options(0, 2))),
        peer("grpc", 1, 2) {
    v1::StartRequest start;
    start.set_successor_address(gateway->address());
    peer.start(start);
    auto joining = std::async(std::launch::async,
                              [&] { return stage->connect(peer.address(), after(seconds(20))); });
    const auto joined = gateway->connect(stage->address(), after(seconds(20)));
    EXPECT_TRUE(joined.ok()) << joined.error().message;
    EXPECT_TRUE(joining.get().ok());
    peer.expect_joined();
  }
  std::unique_ptr<GrpcTransport> gateway;
  std::unique_ptr<GrpcTransport> stage;
  PeerProcess peer;
};

struct Noticed {
  double seconds = 0;
  std::string message;
};

// Signals stage 1 while its neighbours wait; how long until each says so, and how.
std::pair<Noticed, Noticed> notice(int signal) {
  MixedRing ring;
  const std::string frame(20000, 'p');
  EXPECT_TRUE(ring.gateway->send(frame, after(seconds(5))).ok());
  EXPECT_TRUE(ring.stage->send(*ring.stage->receive(after(seconds(5))), after(seconds(5))).ok());
  EXPECT_EQ(*ring.gateway->receive(after(seconds(10))), frame);
  Clock::time_point start;
  const auto wait = [&](GrpcTransport& rank) {
    return std::async(std::launch::async, [&] {
      const auto got = rank.receive(after(seconds(30)));
      EXPECT_FALSE(got.ok());
      EXPECT_EQ(got.error().code, ErrorCode::kUnavailable);
      return Noticed{seconds_since(start), got.error().message};
    });
  };
  auto at_gateway = wait(*ring.gateway);
  auto at_stage = wait(*ring.stage);
  std::this_thread::sleep_for(milliseconds(100));
  start = Clock::now();
  ring.peer.signal(signal);
  std::pair<Noticed, Noticed> out{at_gateway.get(), at_stage.get()};
  EXPECT_EQ(out.first.message, "rank 1 is gone: its link to this rank broke");
  EXPECT_EQ(out.second.message, "rank 1 is gone: the link to it broke");
  EXPECT_EQ(ring.stage->send("x", after(seconds(1))).error().code, ErrorCode::kUnavailable);
  return out;
}

TEST(GrpcTransport, AKilledNeighbourIsNoticedAtOnceOnBothSides) {
  const auto [gateway, stage] = notice(SIGKILL);
  EXPECT_LT(gateway.seconds, 1.0);
  EXPECT_LT(stage.seconds, 1.0);
}

TEST(GrpcTransport, AStoppedNeighbourIsNoticedByItsSilenceOnBothSides) {
  const auto [gateway, stage] = notice(SIGSTOP);
  for (const Noticed& side : {gateway, stage}) {
    EXPECT_GT(side.seconds, 1.0);
    EXPECT_LT(side.seconds, 6.0);
  }
}

}  // namespace
}  // namespace tandem::cluster
