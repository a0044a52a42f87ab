#pragma once
// One member's way into the ring, whichever transport it uses.

#include <cstdint>
#include <memory>
#include <string>

#include "cluster/link/transport.h"
#include "cluster/trust/credentials.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

struct RingOptions {
  std::string transport = "grpc";  // or "mlx"
  std::string cluster;
  std::uint64_t epoch = 0;
  int rank = kGatewayRank;
  int stages = 1;
  std::string listen = "127.0.0.1:0";
  Credentials credentials;
};

/// Where the others are; which fields count depends on the transport, as in StartRequest.
struct RingPeers {
  std::string successor;  // grpc: host:port
  std::string mlx_backend;
  std::string mlx_hostfile;  // contents: every member's address, the gateway's first
};

/// open(), tell the others address(), join(), then transport(). The `mlx` transport joins one group
/// in the life of a process and may leave a thread inside MLX when the ring broke: the process then
/// ends by exit_process().
class RingEnd {
 public:
  /// Errors of GrpcTransport::listen; kInvalidArgument for an unknown transport.
  static Result<std::unique_ptr<RingEnd>> open(const RingOptions& options);
  virtual ~RingEnd() = default;

  /// Where this member can be reached, host:port. mlx: listen's port, or one that was free a
  /// moment ago, because MLX binds it itself.
  virtual std::string address() const = 0;
  /// Waits for both neighbours.
  virtual Status join(const RingPeers& peers, Deadline deadline) = 0;
  /// After join().
  virtual Transport& transport() = 0;
  /// Ends join() and every later wait with kCancelled. Any thread.
  virtual void close() = 0;
};

}  // namespace tandem::cluster
