#pragma once
// The gRPC face of a worker.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>

#include "cluster/rank/supervisor.h"
#include "cluster/rank/worker_log.h"
#include "cluster/rank/worker_place.h"
#include "cluster/trust/call_proof.h"
#include "tandem.grpc.pb.h"

namespace tandem::cluster {

struct WorkerIdentity {
  std::string version;  // of this program
  std::string key;      // cluster key; empty: none
  WorkerPlace place = {};
  std::string executable = {};  // this program's, for children that look at devices
};

/// Heartbeat streams that have not proved a call. Each holds a server thread, so the oldest gives
/// way to a new one.
inline constexpr std::size_t kMaxUnprovedStreams = 16;

/// The streams of strangers, oldest first. Thread-safe.
class UnprovedStreams {
 public:
  /// Ends the oldest stream when there are too many. `context` stays valid until remove().
  void add(grpc::ServerContext* context);
  /// Nothing when it is not among them (any more).
  void remove(grpc::ServerContext* context);

 private:
  std::mutex mutex_;
  std::list<grpc::ServerContext*> contexts_;
};

/// Checks every request, then leaves the work to the supervisor. gRPC's threads call it.
class WorkerService final : public v1::Worker::Service {
 public:
  /// `log`, if any, outlives the service.
  WorkerService(Supervisor& supervisor, WorkerIdentity identity, WorkerLog* log = nullptr);

  /// Ends all streams; call it before the server is shut down.
  void stop() { stopping_ = true; }

  grpc::Status Hello(grpc::ServerContext* context, const v1::HelloRequest* request,
                     v1::HelloReply* reply) override;
  grpc::Status Describe(grpc::ServerContext* context, const v1::DescribeRequest* request,
                        v1::DescribeReply* reply) override;
  grpc::Status Echo(grpc::ServerContext* context, const v1::EchoRequest* request,
                    v1::EchoReply* reply) override;
  grpc::Status Load(grpc::ServerContext* context, const v1::LoadRequest* request,
                    grpc::ServerWriter<v1::LoadReply>* writer) override;
  grpc::Status Start(grpc::ServerContext* context, const v1::StartRequest* request,
                     v1::StartReply* reply) override;
  grpc::Status Heartbeat(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::HeartbeatReply, v1::HeartbeatRequest>* stream) override;
  grpc::Status Stop(grpc::ServerContext* context, const v1::StopRequest* request,
                    v1::StopReply* reply) override;

 private:
  /// Loads within the owner's limits.
  Result<v1::Loaded> load_within(v1::LoadRequest request,
                                 const std::function<void(const v1::LoadProgress&)>& progress,
                                 const std::function<bool()>& cancelled);
  /// The status; a line for a call that is refused before the supervisor hears of it.
  Status told(const grpc::ServerContext& context, const char* call, Status status);
  void say(const std::string& line);
  /// "rank 1 (layers 8..15)", as it was loaded.
  std::string name_of(std::uint64_t epoch);

  Supervisor& supervisor_;
  const WorkerIdentity identity_;
  WorkerLog* const log_;
  std::mutex mutex_;
  std::uint64_t loaded_epoch_ = 0;
  std::string loaded_name_;
  SessionBook sessions_;
  UnprovedStreams unproved_;
  std::atomic<bool> stopping_{false};
};

}  // namespace tandem::cluster
