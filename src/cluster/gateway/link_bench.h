#pragma once
// How fast frames move between two ranks: `tandem bench link`.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cluster/trust/credentials.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// argv that makes this binary the other rank: `tandem kLinkPeerCommand`. The CLI hides the command
/// and calls run_link_peer().
inline constexpr const char* kLinkPeerCommand = "link-peer";

struct LinkOptions {
  std::string executable;          // a binary that has kLinkPeerCommand: this one
  std::string transport = "grpc";  // or "mlx"
  std::string mlx_backend = "ring";
  /// Of both ranks, grpc only; default: plain. See make_throwaway_credentials() for TLS.
  Credentials credentials;
  /// Bytes, each at most kMaxLinkPayload. 14464 is a decode frame of hidden size 7168 in bf16.
  std::vector<std::uint64_t> payloads{128, 14464, 262144, 16777216};
  int round_trips = 2000;                     // of each payload, at least 1
  std::chrono::milliseconds time_each{5000};  // a payload's round trips stop early after this
};

inline constexpr std::uint64_t kMaxLinkPayload = 256ULL << 20;

struct LinkPayload {
  std::uint64_t bytes = 0;
  int round_trips = 0;    // measured
  double one_way_us = 0;  // half a round trip: median, 99th percentile
  double one_way_p99_us = 0;
  double bytes_per_second = 0;  // one way, with frames in flight all the time
};

struct LinkReport {
  std::string transport;
  bool tls = false;
  bool key = false;
  std::vector<LinkPayload> payloads;
};

/// A ring of two: this process is the gateway, a child process on this machine is stage 0 and sends
/// back what it gets. Real sockets on loopback, two processes, no model. Blocks for round_trips of
/// each payload, bounded by time_each; every wait has a deadline. Errors: those of the transport.
Result<LinkReport> bench_link(const LinkOptions& options);

/// The child's side, a rank without a model: takes its set-up from kControlFd (kSecret:
/// ChildSecrets, kLoad: transport, cluster, epoch, rank and stages of a LoadRequest), answers kPort
/// with its link address, joins at kStart (StartRequest), answers kStarted, and sends frames on
/// until the parent or the ring ends. Failures: kRefused. Ends the
/// process, by exit_process().
int run_link_peer();

}  // namespace tandem::cluster
