#pragma once
// The gateway's control connection to one worker.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "cluster/gateway/failure_machine.h"
#include "cluster/link/round_trips.h"
#include "cluster/rank/rank_work.h"
#include "cluster/trust/call_proof.h"
#include "cluster/trust/credentials.h"
#include "config/hosts.h"
#include "planner/inventory.h"
#include "tandem.grpc.pb.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// What the heartbeats said last.
struct WorkerHealth {
  bool running = false;  // heartbeats have begun
  v1::HeartbeatReply last;
  std::uint64_t memory_peak = 0;              // bytes, of all heartbeats
  RankRates rates;                            // over the last seconds
  std::optional<Clock::duration> round_trip;  // of a heartbeat: the shortest of the last few
  std::optional<Clock::time_point> heard;     // its last word, from the load's first reply on
  std::optional<RankLoss> loss;               // the rank failed, or its stream broke
};

/// Errors read as the end of a sentence that begins with the worker's name: "is busy: ...". Calls
/// block until their deadline; cancel() ends them. Each of load(), join(), stop() is called once,
/// by any thread; beat() and health() by the watching thread.
class WorkerClient {
 public:
  /// Hello: reaches the worker within kHello and compares generations.
  static Result<std::unique_ptr<WorkerClient>> connect(const config::Host& host,
                                                       const Credentials& credentials,
                                                       const std::string& version);
  ~WorkerClient();
  WorkerClient(const WorkerClient&) = delete;
  WorkerClient& operator=(const WorkerClient&) = delete;

  const v1::HelloReply& hello() const { return hello_; }

  /// What the machine has for a rank of the model in `folder`, on a device or as it likes.
  Result<v1::DescribeReply> describe(v1::DeviceKind device, const std::string& folder);
  /// What it takes to send to it, and back, within kLinkProbe or little more.
  Result<planner::Link> measure_link();
  /// Loads a rank; `progress` is called from this thread. On success heartbeats begin, and
  /// `changed` is called (from another thread) whenever health() may have a loss.
  Result<v1::Loaded> load(v1::LoadRequest request,
                          const std::function<void(const v1::LoadProgress&)>& progress,
                          std::function<void()> changed);
  Status join(v1::StartRequest request);
  /// Gives the rank up, also after cancel() and in the middle of a load. `keep`: its layers stay
  /// for this gateway's next load, for a while.
  void stop(bool keep);
  /// Ends every call under way; after it only stop() is of use.
  void cancel();

  /// Sends a heartbeat when one is due. Every kHeartbeat or more often.
  void beat(Clock::time_point now);
  WorkerHealth health() const;

 private:
  class Call;  // a context that cancel() reaches
  using HeartbeatStream = grpc::ClientReaderWriter<v1::HeartbeatRequest, v1::HeartbeatReply>;

  WorkerClient(std::unique_ptr<v1::Worker::Stub> stub, std::string key);
  Result<Clock::duration> echo(std::size_t bytes);
  Status say_hello(const std::string& version);
  void begin_heartbeats();
  void read_heartbeats();
  void heard();
  void fail(RankLoss loss);
  Error ended(const grpc::Status& status);

  std::unique_ptr<v1::Worker::Stub> stub_;
  CallSigner signer_;
  v1::HelloReply hello_;
  std::uint64_t epoch_ = 0;
  std::function<void()> changed_;

  mutable std::mutex mutex_;
  WorkerHealth health_;
  Deadline next_beat_{};
  std::uint64_t last_beat_ = 0;  // its number
  RoundTrips trips_;
  RankWindow window_;
  bool cancelled_ = false;
  std::set<grpc::ClientContext*> calls_;
  std::unique_ptr<Call> heartbeat_call_;
  std::unique_ptr<HeartbeatStream> heartbeats_;
  std::thread reader_;
};

}  // namespace tandem::cluster
