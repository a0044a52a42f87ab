#include "cluster/link/link_handshake.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tandem.pb.h"

namespace tandem::cluster {
namespace {

RingMember member(int rank, const std::string& key = "0123456789abcdef") {
  return {"cluster-1", 5, rank, 3, key};
}

// Runs a whole handshake; the listener's refusal or the dialer's error, empty when it succeeds.
std::string shake(const RingMember& dialer, const RingMember& listener, bool taken = false) {
  DialerHandshake dial(dialer);
  ListenerHandshake listen(listener);
  const ListenerReply challenge = listen.on_open(dial.open());
  const auto proof = dial.on_challenge(challenge.bytes);
  if (!proof.ok()) return proof.error().message;
  const ListenerReply welcome = listen.on_proof(*proof, taken);
  const auto done = dial.on_welcome(welcome.bytes);
  EXPECT_EQ(done.ok(), welcome.refused.empty());
  return done.ok() ? "" : done.error().message;
}

TEST(Ring, EveryMemberIsItsNeighboursNeighbour) {
  for (int stages = 1; stages <= 4; ++stages) {
    for (int rank = kGatewayRank; rank < stages; ++rank) {
      RingMember m{"c", 1, rank, stages, ""};
      RingMember next{"c", 1, m.successor(), stages, ""};
      EXPECT_EQ(next.predecessor(), rank);
    }
  }
  EXPECT_EQ((RingMember{"c", 1, 2, 3, ""}).successor(), kGatewayRank);
  EXPECT_EQ((RingMember{"c", 1, kGatewayRank, 3, ""}).predecessor(), 2);
}

TEST(LinkHandshake, NeighboursAgreeWithAndWithoutKey) {
  for (const std::string key : {"", "0123456789abcdef"}) {
    EXPECT_EQ(shake(member(kGatewayRank, key), member(0, key)), "");
    EXPECT_EQ(shake(member(0, key), member(1, key)), "");
    EXPECT_EQ(shake(member(2, key), member(kGatewayRank, key)), "");
  }
}

TEST(LinkHandshake, RefusesWithTheReason) {
  const RingMember right = member(1);
  RingMember other = member(0);
  other.cluster = "cluster-2";
  EXPECT_NE(shake(other, right).find("another cluster id"), std::string::npos);
  other = member(0);
  other.epoch = 4;
  EXPECT_NE(shake(other, right).find("another epoch"), std::string::npos);
  EXPECT_NE(shake(member(1), right).find("not the predecessor"), std::string::npos);
  EXPECT_NE(shake(member(0), right, true).find("has its predecessor already"), std::string::npos);
}

TEST(LinkHandshake, AWrongKeyIsFoundByEitherEnd) {
  EXPECT_NE(shake(member(0, "another key, long"), member(1)).find("does not hold"),
            std::string::npos);
  EXPECT_NE(shake(member(0), member(1, "")).find("does not hold"), std::string::npos);
  // A dialer that does not check the listener gets no further.
  ListenerHandshake listen(member(1));
  listen.on_open(DialerHandshake(member(0, "another key, long")).open());
  v1::LinkProof proof;
  for (const std::string& bytes : {std::string(), std::string(32, '\0')}) {
    proof.set_proof(bytes);
    EXPECT_EQ(listen.on_proof(proof.SerializeAsString(), false).refused, "not this cluster's key");
  }
}

TEST(LinkHandshake, AReplayedHandshakeFails) {
  DialerHandshake dial(member(0));
  ListenerHandshake first(member(1));
  const std::string open = dial.open();
  const auto proof = dial.on_challenge(first.on_open(open).bytes);
  ASSERT_TRUE(proof.ok());
  ASSERT_EQ(first.on_proof(*proof, false).refused, "");
  ListenerHandshake second(member(1));
  ASSERT_EQ(second.on_open(open).refused, "");
  EXPECT_EQ(second.on_proof(*proof, false).refused, "not this cluster's key");
}

TEST(LinkHandshake, AnEndIsNotFooledByItsOwnWords) {
  // A listener that knows no key sends the dialer's own proof back from another handshake.
  DialerHandshake dial(member(0));
  ListenerHandshake genuine(member(1));
  const auto proof = dial.on_challenge(genuine.on_open(dial.open()).bytes);
  ASSERT_TRUE(proof.ok());
  v1::LinkProof sent;
  ASSERT_TRUE(sent.ParseFromString(*proof));
  v1::LinkChallenge forged;
  ASSERT_TRUE(forged.ParseFromString(genuine.on_open(dial.open()).bytes));
  forged.set_proof(sent.proof());
  EXPECT_FALSE(dial.on_challenge(forged.SerializeAsString()).ok());
}

TEST(LinkHandshake, RefusalsFromTheWireAreShortCleanLines) {
  v1::LinkChallenge challenge;
  challenge.set_refusal("go\naway\x1b[31m" + std::string(5000, 'y'));
  const auto got = DialerHandshake(member(0)).on_challenge(challenge.SerializeAsString());
  ASSERT_FALSE(got.ok());
  EXPECT_LT(got.error().message.size(), 400u);
  EXPECT_EQ(got.error().message.find('\n'), std::string::npos);
  EXPECT_EQ(got.error().message.find('\x1b'), std::string::npos);
}

TEST(LinkHandshake, RandomBytesAreRefused) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string open = DialerHandshake(member(0)).open();
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = open;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
    ListenerHandshake listen(member(1));
    const auto challenge = listen.on_open(bytes);
    // Only the nonce may differ unnoticed here; then the proof does not fit.
    if (!challenge.refused.empty()) continue;
    DialerHandshake dial(member(0));
    const auto proof = dial.on_challenge(challenge.bytes);
    EXPECT_FALSE(proof.ok());
  }
}

}  // namespace
}  // namespace tandem::cluster
