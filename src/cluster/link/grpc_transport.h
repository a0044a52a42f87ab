#pragma once
// The default transport: gRPC streams between ring neighbours.
//
// Each rank listens for its predecessor and dials its successor: one bidirectional stream a pair,
// opened by the predecessor, used for frames in one direction. See link_handshake.h for who is let
// in. Reactors of gRPC's callback API move the bytes; a frame is written by the thread that sends
// it and handed to the receiving thread by the thread that read it from the socket. Idle ranks
// sleep.
//
// A neighbour whose process is gone is noticed by its socket at once; one that is stopped, or a
// dead network, by unanswered keepalive pings after keepalive_every + keepalive_timeout.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cluster/link/transport.h"
#include "cluster/trust/credentials.h"
#include "tandem/error.h"

namespace tandem::cluster {

struct GrpcLinkOptions {
  std::string cluster;      // cluster id, 1 to 128 bytes: the same on all ranks
  std::uint64_t epoch = 0;  // of the plan: the same on all ranks
  int rank = kGatewayRank;  // kGatewayRank or [0, stages)
  int stages = 1;
  std::string listen = "127.0.0.1:0";  // host:port; port 0: any free one
  Credentials credentials;
  std::chrono::milliseconds keepalive_every{1000};
  std::chrono::milliseconds keepalive_timeout{2000};
  /// The destructor waits so long for gRPC's threads; what they still hold ends after them.
  std::chrono::milliseconds end_within{10'000};
};

/// Counts since listen().
struct LinkStats {
  std::uint64_t frames_sent = 0;
  std::uint64_t frames_received = 0;
  std::uint64_t bytes_received = 0;  // of frames, whole or not
  std::uint64_t frames_dropped = 0;  // of another epoch
  std::uint64_t peers_refused = 0;   // streams that failed the handshake
};

/// listen(), tell the predecessor address(), connect(), then Transport's calls. Owns its threads'
/// work: the destructor closes and waits for it, up to end_within.
class GrpcTransport final : public Transport {
 public:
  /// Errors: kInvalidArgument for bad options or an address that needs secrets (check_exposure);
  /// kUnavailable when the port is taken.
  static Result<std::unique_ptr<GrpcTransport>> listen(const GrpcLinkOptions& options);
  ~GrpcTransport() override;

  /// Where the predecessor dials: the host of `listen` with the real port.
  std::string address() const;
  /// Dials `successor` (host:port) until it answers, and waits for the predecessor. Errors name the
  /// rank: kDeadlineExceeded with the last reason, kUnavailable when the successor refuses. Once.
  Status connect(const std::string& successor, Deadline deadline);

  Result<std::string> receive(Deadline deadline) override;
  Status send(EncodedFrame frame, Deadline deadline) override;
  Status drain(Deadline deadline) override;
  void close() override;
  void probe() override;
  std::optional<Clock::duration> round_trip() const override;
  std::uint64_t received_bytes() const override;

  LinkStats stats() const;

 private:
  struct Impl;
  explicit GrpcTransport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Keeps gRPC's own log lines off stderr: failures are reported as errors. Call once at the start
/// of main(), before any other use of gRPC.
void quiet_grpc_log();

}  // namespace tandem::cluster
