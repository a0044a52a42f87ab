#include "cluster/trust/call_proof.h"

#include <algorithm>
#include <utility>

#include "cluster/trust/credentials.h"

namespace tandem::cluster {
namespace {

std::string hello_proof(const std::string& key, const std::string& nonce,
                        const std::string& session) {
  return make_proof(key, "tandem worker hello", {nonce, session});
}

std::string call_mac(const std::string& key, const std::string& session, std::uint64_t counter,
                     std::string_view method) {
  return make_proof(key, "tandem worker call", {session, as_bytes(counter), method});
}

}  // namespace

SessionBook::SessionBook(std::string key) : key_(std::move(key)) {}

Status SessionBook::open(const v1::HelloRequest& request, v1::HelloReply& reply) {
  if (request.nonce().size() != kNonceBytes) {
    return invalid("hello: the nonce must have " + std::to_string(kNonceBytes) + " bytes");
  }
  Session session{make_nonce(), 0, 0};
  reply.set_session(session.id);
  reply.set_proof(hello_proof(key_, request.nonce(), session.id));
  const std::lock_guard lock(mutex_);
  if (opened_.size() >= kMaxSessions) opened_.pop_front();
  opened_.push_back(std::move(session));
  return {};
}

Status SessionBook::check(const v1::CallProof& proof, std::string_view method) {
  const Error refused = invalid("the call does not prove the cluster key");
  const std::string mac = call_mac(key_, proof.session(), proof.counter(), method);
  if (!same_proof(mac, proof.mac())) return refused;
  const std::lock_guard lock(mutex_);
  for (std::deque<Session>* sessions : {&proved_, &opened_}) {
    const auto found = std::find_if(sessions->begin(), sessions->end(), [&](const Session& open) {
      return open.id == proof.session();
    });
    if (found == sessions->end()) continue;
    if (!use_counter(*found, proof.counter())) return refused;
    Session session = std::move(*found);
    sessions->erase(found);
    if (proved_.size() >= kMaxProvedSessions) proved_.pop_front();
    proved_.push_back(std::move(session));
    return {};
  }
  return refused;
}

// Calls run side by side, so counters may arrive a little out of order: a window of the last 64
// remembers which were used.
bool SessionBook::use_counter(Session& session, std::uint64_t counter) {
  constexpr std::uint64_t kWindow = 64;
  if (counter > session.counter) {
    const std::uint64_t step = counter - session.counter;
    session.used = step >= kWindow ? 1 : session.used << step | 1;
    session.counter = counter;
    return true;
  }
  const std::uint64_t age = session.counter - counter;
  if (counter == 0 || age >= kWindow || (session.used >> age & 1) != 0) return false;
  session.used |= std::uint64_t{1} << age;
  return true;
}

CallSigner::CallSigner(std::string key) : key_(std::move(key)), nonce_(make_nonce()) {}

Status CallSigner::accept(const v1::HelloReply& reply) {
  if (!same_proof(reply.proof(), hello_proof(key_, nonce_, reply.session()))) {
    return Error{ErrorCode::kUnavailable, key_.empty() ? "wants a cluster key (--cluster-key-file)"
                                                       : "does not hold our cluster key"};
  }
  const std::lock_guard lock(mutex_);
  session_ = reply.session();
  return {};
}

v1::CallProof CallSigner::sign(std::string_view method) {
  const std::lock_guard lock(mutex_);
  v1::CallProof proof;
  proof.set_session(session_);
  proof.set_counter(++counter_);
  proof.set_mac(call_mac(key_, session_, counter_, method));
  return proof;
}

}  // namespace tandem::cluster
