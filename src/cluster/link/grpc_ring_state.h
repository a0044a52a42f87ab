#pragma once
// What the threads of a grpc transport share: its caller, and gRPC's own that run the reactors.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <string>

#include "cluster/link/grpc_transport.h"
#include "cluster/link/link_handshake.h"
#include "tandem/error.h"

namespace tandem::cluster {

class PredecessorLink;

/// The service and method of proto/tandem.proto's Link.
inline constexpr char kLinkMethod[] = "/tandem.v1.Link/Connect";
/// Handshakes in progress; the oldest gives way to a new one.
inline constexpr std::size_t kMaxHandshakes = 16;
/// Frames that have arrived and nobody has taken: beyond either, the predecessor has to wait.
inline constexpr std::size_t kMaxInboxBytes = 64 << 20;

/// Guarded by `mutex`. Outlives every reactor that refers to it.
struct RingState {
  explicit RingState(RingMember who) : member(std::move(who)) {}

  const RingMember member;
  std::mutex mutex;
  std::condition_variable arrived;  // inbox, error, closed
  std::condition_variable moved;    // everything else: links up, outbox, reactors gone

  bool closed = false;
  std::optional<Error> error;  // the first that broke the ring
  LinkStats stats;
  std::string last_refusal;  // of a would-be predecessor

  PredecessorLink* predecessor = nullptr;  // accepted and not gone
  bool had_predecessor = false;            // one per epoch
  std::list<PredecessorLink*> handshakes;  // oldest first
  int reactors = 0;                        // server-side ones alive
  std::deque<std::string> inbox;
  std::size_t inbox_bytes = 0;

  /// With the mutex held.
  bool inbox_full() const {
    return inbox.size() >= kMaxQueuedFrames || inbox_bytes >= kMaxInboxBytes;
  }
  void fail(Error why) {
    if (!error) error = std::move(why);
    arrived.notify_all();
    moved.notify_all();
  }
  Error closed_error() const { return {ErrorCode::kCancelled, "the link was closed"}; }
};

}  // namespace tandem::cluster
