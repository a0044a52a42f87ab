#pragma once
// One rank's end of the ring gateway -> stage 0 -> ... -> stage S-1 -> gateway.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cluster/wire/encoded_frame.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// The gateway's place in the ring; stages are ranks 0 to S-1.
inline constexpr int kGatewayRank = -1;

/// Moves encoded frames from the predecessor and to the successor, in order, each exactly once.
/// grpc: one bidirectional stream per neighbour pair. mlx: one all_gather per exchange, in which
/// every rank takes part (see mlx_transport.h). One thread calls receive(), the same or another one
/// calls send(). After an error the transport is dead: a new one is made, never reused.
class Transport {
 public:
  virtual ~Transport() = default;

  /// The predecessor's next frame. kDeadlineExceeded when none came in time (the transport lives
  /// on: grpc may be called again), kUnavailable when the neighbour is gone.
  virtual Result<std::string> receive(Deadline deadline) = 0;
  /// Queues a frame for the successor; at most kMaxQueuedFrames wait, then blocks until `deadline`.
  virtual Status send(EncodedFrame frame, Deadline deadline) = 0;
  /// Sends no more and waits until the successor has taken everything queued: for a rank that is
  /// about to end. kDeadlineExceeded when it did not in time.
  virtual Status drain(Deadline deadline) = 0;
  /// Wakes every blocked call with kCancelled. Any thread.
  virtual void close() = 0;

  /// Times the way to the successor and back, when no frame is on it; returns at once. Any thread,
  /// after joining. mlx has no way of its own to time: nothing happens.
  virtual void probe() {}
  /// The shortest of the last few probes; nullopt before the first answer.
  virtual std::optional<Clock::duration> round_trip() const { return std::nullopt; }
  /// Bytes of frames that came, also of one that is not whole yet. Any thread, after joining. mlx
  /// exchanges whole frames at once: nothing is counted.
  virtual std::uint64_t received_bytes() const { return 0; }
};

inline constexpr int kMaxQueuedFrames = 64;

}  // namespace tandem::cluster
