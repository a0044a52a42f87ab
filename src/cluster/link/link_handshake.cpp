#include "cluster/link/link_handshake.h"

#include <utility>

#include "cluster/trust/credentials.h"
#include "cluster/wire/wire_error.h"
#include "tandem.pb.h"

namespace tandem::cluster {
namespace {

constexpr std::size_t kMaxRefusalBytes = 256;
constexpr std::string_view kDialerPurpose = "tandem link: dialer";
constexpr std::string_view kListenerPurpose = "tandem link: listener";

// The proof of one side over the whole transcript.
std::string transcript_proof(const RingMember& listener_or_dialer, std::string_view purpose,
                             int from, int to, std::string_view dialer_nonce,
                             std::string_view listener_nonce) {
  const RingMember& m = listener_or_dialer;
  const auto rank = [](int r) { return as_bytes(static_cast<std::uint64_t>(r)); };
  return make_proof(m.key, purpose,
                    {as_bytes(kLinkProtocol), m.cluster, as_bytes(m.epoch), rank(from), rank(to),
                     dialer_nonce, listener_nonce});
}

template <class Message>
bool parse(std::string_view bytes, Message& out) {
  return out.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

Error refused_by(const RingMember& member, const std::string& why) {
  return {ErrorCode::kUnavailable,
          rank_name(member.successor()) + " refused the link: " + one_line(why, kMaxRefusalBytes)};
}

}  // namespace

int RingMember::predecessor() const { return rank == kGatewayRank ? stages - 1 : rank - 1; }

int RingMember::successor() const { return rank == stages - 1 ? kGatewayRank : rank + 1; }

std::string rank_name(int rank) {
  return rank == kGatewayRank ? "the gateway" : "rank " + std::to_string(rank);
}

DialerHandshake::DialerHandshake(const RingMember& member)
    : member_(member), nonce_(make_nonce()) {}

std::string DialerHandshake::open() const {
  v1::LinkOpen message;
  message.set_protocol(kLinkProtocol);
  message.set_cluster(member_.cluster);
  message.set_epoch(member_.epoch);
  message.set_from_rank(member_.rank);
  message.set_to_rank(member_.successor());
  message.set_nonce(nonce_);
  return message.SerializeAsString();
}

Result<std::string> DialerHandshake::on_challenge(std::string_view bytes) {
  v1::LinkChallenge challenge;
  if (!parse(bytes, challenge)) return refused_by(member_, "its challenge is malformed");
  if (!challenge.refusal().empty()) return refused_by(member_, challenge.refusal());
  if (challenge.nonce().size() != kNonceBytes) {
    return refused_by(member_, "its challenge has no nonce of 32 bytes");
  }
  const int to = member_.successor();
  const std::string wanted =
      transcript_proof(member_, kListenerPurpose, member_.rank, to, nonce_, challenge.nonce());
  if (!same_proof(wanted, challenge.proof())) {
    return Error{ErrorCode::kUnavailable, rank_name(to) + " does not hold this cluster's key"};
  }
  v1::LinkProof proof;
  proof.set_proof(
      transcript_proof(member_, kDialerPurpose, member_.rank, to, nonce_, challenge.nonce()));
  return proof.SerializeAsString();
}

Status DialerHandshake::on_welcome(std::string_view bytes) const {
  v1::LinkWelcome welcome;
  if (!parse(bytes, welcome)) return refused_by(member_, "its welcome is malformed");
  if (!welcome.refusal().empty()) return refused_by(member_, welcome.refusal());
  return {};
}

ListenerHandshake::ListenerHandshake(const RingMember& member)
    : member_(member), nonce_(make_nonce()) {}

ListenerReply ListenerHandshake::on_open(std::string_view bytes) {
  v1::LinkOpen open;
  v1::LinkChallenge challenge;
  std::string why;
  if (!parse(bytes, open)) {
    why = "malformed LinkOpen";
  } else if (open.protocol() != kLinkProtocol) {
    why = "link protocol " + std::to_string(open.protocol()) + ", this rank speaks " +
          std::to_string(kLinkProtocol);
  } else if (open.cluster() != member_.cluster) {
    why = "another cluster id";
  } else if (open.epoch() != member_.epoch) {
    why = "another epoch";
  } else if (open.to_rank() != member_.rank || open.from_rank() != member_.predecessor()) {
    why = "not the predecessor of this rank";
  } else if (open.nonce().size() != kNonceBytes) {
    why = "the nonce is not 32 bytes";
  }
  if (!why.empty()) {
    challenge.set_refusal(why);
    return {challenge.SerializeAsString(), why};
  }
  peer_nonce_ = open.nonce();
  challenge.set_nonce(nonce_);
  challenge.set_proof(transcript_proof(member_, kListenerPurpose, member_.predecessor(),
                                       member_.rank, peer_nonce_, nonce_));
  return {challenge.SerializeAsString(), {}};
}

ListenerReply ListenerHandshake::on_proof(std::string_view bytes, bool taken) const {
  v1::LinkProof proof;
  v1::LinkWelcome welcome;
  std::string why;
  const std::string wanted = transcript_proof(member_, kDialerPurpose, member_.predecessor(),
                                              member_.rank, peer_nonce_, nonce_);
  if (!parse(bytes, proof)) {
    why = "malformed LinkProof";
  } else if (!same_proof(wanted, proof.proof())) {
    why = "not this cluster's key";
  } else if (taken) {
    why = "this rank has its predecessor already";
  }
  welcome.set_refusal(why);
  return {welcome.SerializeAsString(), why};
}

}  // namespace tandem::cluster
