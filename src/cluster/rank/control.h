#pragma once
// Small messages between a process and the child it started, over their socket pair.

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// What a message is; the payload is the named message of proto/tandem.proto.
enum class ControlKind : std::uint8_t {
  kSecret = 1,  // gateway -> local worker: the cluster key, raw bytes
  kPort,        // local worker -> gateway: decimal port
  kRefused,     // local worker -> gateway: Error, instead of kPort
  kLoad,        // worker -> compute: LoadRequest
  kProgress,    // compute -> worker: LoadProgress
  kLoaded,      // compute -> worker: Loaded
  kStart,       // worker -> compute: StartRequest
  kStarted,     // compute -> worker: StartReply
  kPing,        // worker -> compute: HeartbeatRequest
  kPong,        // compute -> worker: HeartbeatReply
  kFailed,      // compute -> worker: Error; the compute child ends after it
  kLeave,       // worker -> compute: out of the ring, or what there is of it
  kLeft,        // compute -> worker: Error; out of the ring, for that reason, layers are kept
  kDevice,      // device child -> worker: decimal bytes that the GPU has free
};
inline constexpr ControlKind kLastControlKind = ControlKind::kDevice;

/// Largest payload, bytes: a LoadRequest with paths, or a ring's host file.
inline constexpr std::uint32_t kMaxControlBytes = 1U << 20;

struct ControlMessage {
  ControlKind kind = ControlKind::kPing;
  std::string payload;
};

/// One end of the socket pair; the descriptor is borrowed and becomes non-blocking. Any thread
/// sends; one thread receives. On the wire: payload length (4 bytes, little-endian), kind (1),
/// payload.
class ControlChannel {
 public:
  explicit ControlChannel(int fd);

  /// kUnavailable: the other process is gone. kDeadlineExceeded leaves a message cut in half: the
  /// channel is dead then.
  Status send(ControlKind kind, std::string_view payload, Deadline deadline);
  /// kDeadlineExceeded: nothing whole came in time, call again. kUnavailable: the other process is
  /// gone. kInvalidArgument: not a message.
  Result<ControlMessage> receive(Deadline deadline);

 private:
  int fd_;
  std::mutex send_mutex_;
  std::string buffer_;  // received, not yet returned
};

}  // namespace tandem::cluster
