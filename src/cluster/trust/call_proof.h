#pragma once
// Who may call a worker: proofs of the cluster key for single calls, without any IO.
//
//   Hello    gateway -> worker   a nonce;  worker -> gateway  a session, and a proof over both
//   a call   gateway -> worker   the session, a counter that grows, a proof over both and the
//   method
// Without a cluster key sessions exist all the same and proofs are empty.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

#include "tandem.pb.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// Sessions remembered that never proved a call; the oldest gives way. Anyone may open one.
inline constexpr std::size_t kMaxSessions = 256;
/// Sessions remembered that did; the one that is silent the longest gives way. Strangers cannot
/// have one, and a worker serves one gateway at a time.
inline constexpr std::size_t kMaxProvedSessions = 64;

/// The worker's side. Thread-safe.
class SessionBook {
 public:
  explicit SessionBook(std::string key);

  /// Fills session and proof; kInvalidArgument for a nonce of another length.
  Status open(const v1::HelloRequest& request, v1::HelloReply& reply);
  /// Takes a call's proof, once. kInvalidArgument when it is not valid.
  Status check(const v1::CallProof& proof, std::string_view method);

 private:
  struct Session {
    std::string id;
    std::uint64_t counter = 0;  // the highest one used
    std::uint64_t used = 0;     // bit i: counter - i was used
  };
  static bool use_counter(Session& session, std::uint64_t counter);
  const std::string key_;
  std::mutex mutex_;
  std::deque<Session> opened_;  // oldest first
  std::deque<Session> proved_;  // least recently used first
};

/// The gateway's side of one session. Thread-safe.
class CallSigner {
 public:
  explicit CallSigner(std::string key);

  /// The request's nonce.
  const std::string& nonce() const { return nonce_; }
  /// Takes the worker's session; kUnavailable when it does not hold our key.
  Status accept(const v1::HelloReply& reply);
  /// The proof for the next call of `method`. Several calls may be under way in any order.
  v1::CallProof sign(std::string_view method);

 private:
  const std::string key_;
  const std::string nonce_;
  std::mutex mutex_;
  std::string session_;
  std::uint64_t counter_ = 0;
};

}  // namespace tandem::cluster
