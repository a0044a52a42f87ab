#pragma once
// Frames by MLX's collectives: for closed networks where they are the faster wire.
//
// Every rank, the gateway among them, is a member of one MLX group and takes part in every
// exchange, an all_gather (see mlx_exchange.h for what goes into it, and why no rank can wait for a
// different size). A rank enters the next exchange when it calls receive(), that is, when it has
// sent on what it was given; so one exchange moves every frame in flight by one rank, and lasts as
// long as the slowest stage. With S stages, S ticks in flight keep all of them at work.
//
// The gateway enters an exchange only while frames are in flight: for each frame it sends, exactly
// one comes back. Meanwhile the other ranks wait inside all_gather, where MLX's ring SPINS: an idle
// rank of this transport keeps a core busy. The grpc transport does not.
//
// What MLX costs: a wait inside it cannot be cancelled. receive() keeps its deadline and may be
// called again, but a rank that is gone for good is told by MLX's error, or by nothing at all when
// it is stopped, so somebody else has to watch it and kill this process. After MLX reports an error
// the transport is dead, and the process should end soon, by exit_process: the C++
// runtime's teardown of MLX would wait for the operation. MLX authenticates nobody and encrypts
// nothing, and logs to stderr.

#include <cstdint>
#include <memory>
#include <string>

#include "cluster/link/mlx_group.h"
#include "cluster/link/transport.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

struct MlxLinkOptions {
  std::uint64_t epoch = 0;  // of the plan: the same on all ranks
  int rank = kGatewayRank;  // kGatewayRank or [0, stages)
  int stages = 1;
  MlxGroupOptions group;  // group_rank and size are derived from rank and stages
};

/// Owns one thread that does all that MLX may block. One process can be in one group.
class MlxTransport final : public Transport {
 public:
  /// Returns when all ranks have joined. See set_mlx_environment for threads. Errors:
  /// kDeadlineExceeded, after which a thread is left inside MLX; kUnavailable with MLX's reason.
  static Result<std::unique_ptr<MlxTransport>> join(const MlxLinkOptions& options,
                                                    Deadline deadline);
  /// On the gateway: tells the other ranks that the ring ends, when they take part within 2 s.
  ~MlxTransport() override;

  Result<std::string> receive(Deadline deadline) override;
  Status send(EncodedFrame frame, Deadline deadline) override;
  Status drain(Deadline deadline) override;
  void close() override;

 private:
  struct State;
  explicit MlxTransport(std::shared_ptr<State> state);
  static void run(std::shared_ptr<State> state);
  // Shared with the thread, which outlives the transport when MLX does not return.
  std::shared_ptr<State> state_;
};

}  // namespace tandem::cluster
