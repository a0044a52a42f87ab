#pragma once
// Who may speak on a link: the handshake of two ring neighbours, without any IO.
//
//   dialer -> listener   LinkOpen       protocol, cluster, epoch, both ranks, the dialer's nonce
//   listener -> dialer   LinkChallenge  the listener's nonce and its proof, or a refusal
//   dialer -> listener   LinkProof      the dialer's proof
//   listener -> dialer   LinkWelcome    empty, or a refusal
// A proof is an HMAC under the cluster key of everything in LinkOpen and both nonces, with a
// purpose that differs by side, so that neither end can be answered with its own words.

#include <cstdint>
#include <string>
#include <string_view>

#include "cluster/link/transport.h"
#include "tandem/error.h"

namespace tandem::cluster {

inline constexpr std::uint32_t kLinkProtocol = 2;

/// One rank of a ring of `stages` stages and the gateway.
struct RingMember {
  std::string cluster;  // cluster id, at most 128 bytes
  std::uint64_t epoch = 0;
  int rank = kGatewayRank;  // kGatewayRank or [0, stages)
  int stages = 1;
  std::string key;  // cluster key; empty: none

  int predecessor() const;
  int successor() const;
};

/// "the gateway" or "rank 3".
std::string rank_name(int rank);

/// The dialing end. Call in the order of the members.
class DialerHandshake {
 public:
  explicit DialerHandshake(const RingMember& member);
  /// The LinkOpen to send.
  std::string open() const;
  /// Takes the LinkChallenge; gives the LinkProof to send. Errors: the listener's refusal, or that
  /// it does not hold the key.
  Result<std::string> on_challenge(std::string_view bytes);
  /// Takes the LinkWelcome.
  Status on_welcome(std::string_view bytes) const;

 private:
  RingMember member_;
  std::string nonce_;
};

/// What the listening end answers. When `refused` is set the stream ends after `bytes`.
struct ListenerReply {
  std::string bytes;
  std::string refused;  // why; empty: go on
};

/// The listening end.
class ListenerHandshake {
 public:
  explicit ListenerHandshake(const RingMember& member);
  ListenerReply on_open(std::string_view bytes);
  /// `taken`: a predecessor has been accepted already.
  ListenerReply on_proof(std::string_view bytes, bool taken) const;

 private:
  RingMember member_;
  std::string peer_nonce_;
  std::string nonce_;
};

}  // namespace tandem::cluster
