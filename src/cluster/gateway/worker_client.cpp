#include "cluster/gateway/worker_client.h"

#include <fmt/format.h>
#include <grpcpp/create_channel.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "cluster/timing.h"
#include "cluster/trust/grpc_credentials.h"
#include "cluster/wire/generations.h"
#include "cluster/wire/load_messages.h"
#include "cluster/wire/net_address.h"
#include "cluster/wire/wire_error.h"

namespace tandem::cluster {
namespace {

// gRPC wants the system's clock.
std::chrono::system_clock::time_point grpc_deadline(Clock::duration wait) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(wait);
}

Error wire_error(const v1::Error& error) {
  return from_wire(error).value_or(Error{ErrorCode::kInternal, "failed without a reason"});
}

LossCause cause_of(const v1::HeartbeatReply& reply) {
  switch (reply.cause()) {
    case v1::FAILURE_CAUSE_LINK:
      return LossCause::kLink;
    case v1::FAILURE_CAUSE_OUTSIDE:
      return LossCause::kOutside;
    default:
      return LossCause::kCompute;
  }
}

}  // namespace

// Registers its context for cancel() while it lives.
class WorkerClient::Call {
 public:
  Call(WorkerClient& client, Clock::duration wait) : client_(client) {
    context.set_deadline(grpc_deadline(wait));
    const std::lock_guard lock(client_.mutex_);
    client_.calls_.insert(&context);
    if (client_.cancelled_) context.TryCancel();
  }
  ~Call() {
    const std::lock_guard lock(client_.mutex_);
    client_.calls_.erase(&context);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext context;

 private:
  WorkerClient& client_;
};

Result<std::unique_ptr<WorkerClient>> WorkerClient::connect(const config::Host& host,
                                                            const Credentials& credentials,
                                                            const std::string& version) {
  const std::string address = config::to_string(host);
  if (auto allowed = check_exposure(credentials, address); !allowed) return allowed.error();
  grpc::ChannelArguments arguments;
  if (!is_loopback_name(host.name)) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(timing::kKeepalive.count()));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                     static_cast<int>(timing::kKeepaliveTimeout.count()));
  }
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  auto channel = grpc::CreateCustomChannel(address, channel_credentials(credentials), arguments);
  std::unique_ptr<WorkerClient> client(
      new WorkerClient(v1::Worker::NewStub(channel), credentials.key));
  if (auto greeted = client->say_hello(version); !greeted) return greeted.error();
  return client;
}

WorkerClient::WorkerClient(std::unique_ptr<v1::Worker::Stub> stub, std::string key)
    : stub_(std::move(stub)), signer_(std::move(key)) {}

WorkerClient::~WorkerClient() {
  cancel();
  if (reader_.joinable()) reader_.join();
}

Status WorkerClient::say_hello(const std::string& version) {
  v1::HelloRequest request;
  const Generations own{version};
  request.set_protocol(own.protocol);
  request.set_version(own.version);
  request.set_kernels(own.kernels);
  request.set_nonce(signer_.nonce());
  Call call(*this, timing::kHello);
  const grpc::Status status = stub_->Hello(&call.context, request, &hello_);
  if (!status.ok()) {
    return Error{ErrorCode::kUnavailable,
                 "cannot be reached: " + one_line(status.error_message(), kMaxReasonBytes)};
  }
  // Before the worker's own words: an older one does not say who is to be updated.
  if (auto same = check_generations({hello_.version(), hello_.protocol(), hello_.kernels()}, own);
      !same) {
    return same;
  }
  if (hello_.has_error()) return wire_error(hello_.error());
  return signer_.accept(hello_);
}

Result<v1::DescribeReply> WorkerClient::describe(v1::DeviceKind device, const std::string& folder) {
  v1::DescribeRequest request;
  *request.mutable_auth() = signer_.sign("Describe");
  request.set_device(device);
  request.set_model(folder);
  v1::DescribeReply reply;
  Call call(*this, timing::kDescribe);
  const grpc::Status status = stub_->Describe(&call.context, request, &reply);
  if (!status.ok()) return ended(status);
  if (reply.has_error()) return wire_error(reply.error());
  return reply;
}

Result<v1::Loaded> WorkerClient::load(v1::LoadRequest request,
                                      const std::function<void(const v1::LoadProgress&)>& progress,
                                      std::function<void()> changed) {
  epoch_ = request.epoch();
  changed_ = std::move(changed);
  *request.mutable_auth() = signer_.sign("Load");
  std::optional<v1::Loaded> loaded;
  std::optional<Error> error;
  grpc::Status status;
  {
    Call call(*this, timing::kLoad);
    const auto stream = stub_->Load(&call.context, request);
    v1::LoadReply reply;
    while (stream->Read(&reply)) {
      heard();
      if (reply.has_progress()) progress(reply.progress());
      if (reply.has_loaded()) loaded = reply.loaded();
      if (reply.has_error()) error = wire_error(reply.error());
    }
    status = stream->Finish();
  }
  if (const auto loss = health().loss) return loss->error;
  if (error) return *error;
  if (!loaded) return ended(status);
  begin_heartbeats();
  return *loaded;
}

Status WorkerClient::join(v1::StartRequest request) {
  *request.mutable_auth() = signer_.sign("Start");
  v1::StartReply reply;
  Call call(*this, timing::kRingStart + timing::kHello);
  const grpc::Status status = stub_->Start(&call.context, request, &reply);
  if (const auto loss = health().loss) return loss->error;
  if (!status.ok()) return ended(status);
  if (reply.has_error()) return wire_error(reply.error());
  return {};
}

void WorkerClient::stop(bool keep) {
  if (epoch_ == 0) return;  // nothing was asked for
  v1::StopRequest request;
  request.set_epoch(epoch_);
  request.set_keep(keep);
  *request.mutable_auth() = signer_.sign("Stop");
  v1::StopReply reply;
  grpc::ClientContext context;  // none that cancel() reaches: a cancelled start is given up too
  context.set_deadline(grpc_deadline(timing::kStop));
  static_cast<void>(stub_->Stop(&context, request, &reply));
}

void WorkerClient::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : calls_) context->TryCancel();
}

// The first heartbeat goes out at once: the worker ends a stream that says nothing.
void WorkerClient::begin_heartbeats() {
  heartbeat_call_ = std::make_unique<Call>(*this, timing::kForever);
  auto stream = stub_->Heartbeat(&heartbeat_call_->context);
  {
    const std::lock_guard lock(mutex_);
    heartbeats_ = std::move(stream);
    health_.running = true;
    reader_ = std::thread([this] { read_heartbeats(); });
  }
  beat(Clock::now());
}

void WorkerClient::read_heartbeats() {
  v1::HeartbeatReply reply;
  while (heartbeats_->Read(&reply)) {
    heard();
    if (reply.state() == v1::WORKER_STATE_FAILED)
      fail({cause_of(reply), wire_error(reply.error())});
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    trips_.end(reply.request(), now);
    window_.note(take_work(reply.work()));
    health_.round_trip = trips_.shortest();
    health_.rates = window_.rates();
    health_.memory_peak = std::max(health_.memory_peak, reply.memory_bytes());
    health_.last = std::move(reply);
  }
  fail({LossCause::kConnection, ended(heartbeats_->Finish())});
}

// The connection's end: kInternal as opposed to a rank's report about its neighbours.
Error WorkerClient::ended(const grpc::Status& status) {
  return {ErrorCode::kInternal,
          status.ok() ? "ended the connection"
                      : "is gone: " + one_line(status.error_message(), kMaxReasonBytes)};
}

void WorkerClient::heard() {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  health_.heard = now;
}

void WorkerClient::fail(RankLoss loss) {
  {
    const std::lock_guard lock(mutex_);
    if (health_.loss || cancelled_) return;  // what cancel() breaks says nothing about the rank
    health_.loss = std::move(loss);
    for (grpc::ClientContext* context : calls_) context->TryCancel();
  }
  if (changed_) changed_();
}

void WorkerClient::beat(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (health_.loss || cancelled_ || !health_.running || now < next_beat_) return;
  next_beat_ = now + timing::kHeartbeat;
  v1::HeartbeatRequest request;
  request.set_epoch(epoch_);
  request.set_number(++last_beat_);
  *request.mutable_auth() = signer_.sign("Heartbeat");
  trips_.begin(last_beat_, now);
  heartbeats_->Write(request);
}

WorkerHealth WorkerClient::health() const {
  const std::lock_guard lock(mutex_);
  return health_;
}

}  // namespace tandem::cluster
