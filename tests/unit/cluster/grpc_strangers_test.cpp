// Who is let into a ring, on real sockets.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cluster/trust/throwaway_credentials.h"
#include "cluster/wire/frame_chunks.h"
#include "support/link_peers.h"
#include "support/raw_link.h"

namespace tandem::cluster {
namespace {

using testing::link_options;
using testing::listen;
using testing::make_ring;
using testing::milliseconds;
using testing::RawLink;
using testing::seconds;

int port_of(const std::string& address) {
  return std::stoi(address.substr(address.rfind(':') + 1));
}

// A TCP connection that says `words` and stays.
class TcpStranger {
 public:
  TcpStranger(const std::string& address, const std::string& words)
      : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port_of(address)));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
    EXPECT_EQ(::send(fd_, words.data(), words.size(), 0), static_cast<ssize_t>(words.size()));
  }
  ~TcpStranger() { ::close(fd_); }

 private:
  int fd_;
};

RingMember dialer_of(int rank, int stages, const std::string& key = "") {
  return {"test cluster", 7, rank, stages, key};
}

// Connects gateway and stage 0 of a ring of one, and moves a frame each way.
void expect_ring_works(GrpcTransport& gateway, GrpcTransport& stage) {
  auto other = std::async(std::launch::async,
                          [&] { return stage.connect(gateway.address(), after(seconds(20))); });
  const auto joined = gateway.connect(stage.address(), after(seconds(20)));
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  ASSERT_TRUE(other.get().ok());
  ASSERT_TRUE(gateway.send("down", after(seconds(5))).ok());
  EXPECT_EQ(*stage.receive(after(seconds(5))), "down");
  ASSERT_TRUE(stage.send("up", after(seconds(5))).ok());
  EXPECT_EQ(*gateway.receive(after(seconds(5))), "up");
}

TEST(GrpcStrangers, WhoeverComesFirstTheRealPeerStillJoins) {
  Credentials credentials;
  credentials.key = "0123456789abcdef";
  const auto gateway = listen(link_options(kGatewayRank, 1, credentials));
  const auto stage = listen(link_options(0, 1, credentials));
  const TcpStranger silent(stage->address(), "");
  const TcpStranger http(stage->address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const TcpStranger noise(stage->address(), std::string(5000, '\xA5'));
  // Streams that never get further than their first message, more than there are places for.
  std::vector<std::unique_ptr<RawLink>> idlers;
  for (int i = 0; i < 20; ++i) {
    idlers.push_back(std::make_unique<RawLink>(stage->address()));
    EXPECT_TRUE(idlers.back()->write(DialerHandshake(dialer_of(kGatewayRank, 1)).open()));
  }
  expect_ring_works(*gateway, *stage);
}

TEST(GrpcStrangers, AWrongEpochKeyOrPlaceIsRefusedWithTheReason) {
  Credentials credentials;
  credentials.key = "0123456789abcdef";
  const auto stage = listen(link_options(0, 1, credentials));
  const auto refusal = [&](GrpcLinkOptions options) {
    return listen(options)->connect(stage->address(), after(seconds(10))).error().message;
  };
  auto options = link_options(kGatewayRank, 1, credentials);
  options.epoch = 8;
  EXPECT_EQ(refusal(options), "rank 0 refused the link: another epoch");
  options = link_options(kGatewayRank, 1, credentials);
  options.cluster = "someone else's";
  EXPECT_EQ(refusal(options), "rank 0 refused the link: another cluster id");
  options = link_options(0, 2, credentials);
  EXPECT_EQ(refusal(options), "rank 1 refused the link: not the predecessor of this rank");
  options = link_options(kGatewayRank, 1);
  options.credentials.key = "another key 1234567";
  EXPECT_EQ(refusal(options), "rank 0 does not hold this cluster's key");
  // The last one hung up itself, which the stage notices a moment later.
  const Deadline noticed = after(seconds(5));
  while (stage->stats().peers_refused < 4 && Clock::now() < noticed) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_GE(stage->stats().peers_refused, 4u);
  // Someone without the key who goes on all the same gets a refusal and nothing else.
  RawLink liar(stage->address());
  DialerHandshake keyless(dialer_of(kGatewayRank, 1));
  ASSERT_TRUE(liar.write(keyless.open()));
  ASSERT_TRUE(liar.read().has_value());
  ASSERT_TRUE(liar.write(""));
  const auto welcome = liar.read();
  ASSERT_TRUE(welcome.has_value());
  EXPECT_FALSE(keyless.on_welcome(*welcome).ok());
  EXPECT_FALSE(liar.read().has_value());
  const auto gateway = listen(link_options(kGatewayRank, 1, credentials));
  expect_ring_works(*gateway, *stage);
}

TEST(GrpcStrangers, AnEpochHasOnePredecessor) {
  auto ring = make_ring(1);
  const auto second = listen(link_options(kGatewayRank, 1));
  const auto joined = second->connect(ring[1]->address(), after(seconds(5)));
  ASSERT_FALSE(joined.ok());
  EXPECT_EQ(joined.error().message,
            "rank 0 refused the link: this rank has its predecessor already");
  ASSERT_TRUE(ring[0]->send("still here", after(seconds(5))).ok());
  EXPECT_EQ(*ring[1]->receive(after(seconds(5))), "still here");
}

// Does the handshake of the gateway by hand.
std::unique_ptr<RawLink> raw_gateway(const std::string& address) {
  auto link = std::make_unique<RawLink>(address);
  DialerHandshake dial(dialer_of(kGatewayRank, 1));
  EXPECT_TRUE(link->write(dial.open()));
  const auto challenge = link->read();
  EXPECT_TRUE(challenge.has_value());
  const auto proof = dial.on_challenge(challenge.value_or(""));
  EXPECT_TRUE(proof.ok());
  EXPECT_TRUE(link->write(*proof));
  const auto welcome = link->read();
  EXPECT_TRUE(welcome.has_value());
  EXPECT_TRUE(dial.on_welcome(welcome.value_or("")).ok());
  return link;
}

std::string message(std::uint64_t epoch, std::uint32_t remaining, const std::string& piece) {
  const ChunkHeader header = make_chunk_header(epoch, remaining);
  return std::string(header.data(), header.size()) + piece;
}

TEST(GrpcStrangers, FramesOfAnotherEpochAreDroppedAndCounted) {
  const auto stage = listen(link_options(0, 1));
  const auto gateway = raw_gateway(stage->address());
  ASSERT_TRUE(gateway->write(message(6, 0, "old")));
  ASSERT_TRUE(gateway->write(message(7, 3, "abc")));
  ASSERT_TRUE(gateway->write(message(6, 0, "old")));
  ASSERT_TRUE(gateway->write(message(7, 0, "def")));
  EXPECT_EQ(*stage->receive(after(seconds(5))), "abcdef");
  EXPECT_EQ(stage->stats().frames_dropped, 2u);
}

TEST(GrpcStrangers, AProbeComesBackAsItWasAndOneOfAnotherEpochDoesNot) {
  const auto stage = listen(link_options(0, 1));
  const auto gateway = raw_gateway(stage->address());
  ASSERT_TRUE(gateway->write(make_probe(6, 1)));
  ASSERT_TRUE(gateway->write(make_probe(7, 2)));
  EXPECT_EQ(gateway->read(), make_probe(7, 2));
  ASSERT_TRUE(gateway->write(message(7, 0, std::string(8, 'x'))));
  EXPECT_EQ(*stage->receive(after(seconds(5))), "xxxxxxxx") << "a frame as long as a probe";
  EXPECT_EQ(stage->stats().frames_dropped, 1u);
}

TEST(GrpcStrangers, AMemberThatBreaksTheRulesIsNamed) {
  const std::string bad[] = {"short", message(7, 0xFFFFFFFF, "x"), message(7, 4, "")};
  for (const std::string& bytes : bad) {
    const auto stage = listen(link_options(0, 1));
    const auto gateway = raw_gateway(stage->address());
    ASSERT_TRUE(gateway->write(bytes));
    const auto frame = stage->receive(after(seconds(5)));
    ASSERT_FALSE(frame.ok());
    EXPECT_NE(frame.error().message.find("from the gateway"), std::string::npos)
        << frame.error().message;
  }
}

TEST(GrpcStrangers, TlsRingWorksAndOnlyItsOwnCaIsLetIn) {
  const Credentials ours = make_throwaway_credentials();
  const auto gateway = listen(link_options(kGatewayRank, 1, ours));
  const auto stage = listen(link_options(0, 1, ours));
  const auto try_to_join = [&](const Credentials& credentials) {
    return listen(link_options(kGatewayRank, 1, credentials))
        ->connect(stage->address(), after(milliseconds(1500)));
  };
  EXPECT_FALSE(try_to_join(make_throwaway_credentials()).ok());
  EXPECT_FALSE(try_to_join(Credentials{}).ok());
  // Their certificate, our CA: they trust us, we do not trust them.
  Credentials thief = make_throwaway_credentials();
  thief.ca = ours.ca;
  EXPECT_FALSE(try_to_join(thief).ok());
  // Our certificate, their CA: we would let them in, they find that we are not theirs.
  Credentials doubter = ours;
  doubter.ca = make_throwaway_credentials().ca;
  EXPECT_FALSE(try_to_join(doubter).ok());
  expect_ring_works(*gateway, *stage);
}

TEST(GrpcStrangers, TlsAndKeyTogether) {
  Credentials ours = make_throwaway_credentials();
  ours.key = "0123456789abcdef";
  const auto gateway = listen(link_options(kGatewayRank, 1, ours));
  const auto stage = listen(link_options(0, 1, ours));
  Credentials keyless = ours;
  keyless.key.clear();
  const auto refused =
      listen(link_options(kGatewayRank, 1, keyless))->connect(stage->address(), after(seconds(5)));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, "rank 0 does not hold this cluster's key");
  expect_ring_works(*gateway, *stage);
}

}  // namespace
}  // namespace tandem::cluster
