#include "cluster/rank/worker_service.h"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "cluster/timing.h"
#include "cluster/wire/generations.h"
#include "cluster/wire/wire_error.h"
#include "tandem/deadline.h"

namespace tandem::cluster {
namespace {

using HeartbeatStream = grpc::ServerReaderWriter<v1::HeartbeatReply, v1::HeartbeatRequest>;

constexpr std::size_t kMaxPeerBytes = 128;

v1::HeartbeatReply not_held() {
  v1::HeartbeatReply reply;
  reply.set_state(v1::WORKER_STATE_FAILED);
  reply.set_cause(v1::FAILURE_CAUSE_OUTSIDE);
  reply.mutable_error()->set_code(v1::ERROR_CODE_UNAVAILABLE);
  reply.mutable_error()->set_message("holds no rank of this gateway any more");
  return reply;
}

// One gateway's heartbeat stream. The gateway's requests are answered by the call's own thread; a
// second one says at once, unasked, when the rank fails, and ends a stream that says nothing.
class HeartbeatCall {
 public:
  using End = std::function<void(const std::string& rank, const std::string& reason)>;

  // `end` is called once when the rank ends, by any thread, unless no heartbeat ever came.
  HeartbeatCall(grpc::ServerContext& context, HeartbeatStream& stream,
                const std::atomic<bool>& stopping, Clock::duration gateway_silence, End end)
      : context_(context),
        stream_(stream),
        stopping_(stopping),
        gateway_silence_(gateway_silence),
        end_(std::move(end)),
        watcher_([this] { watch(); }) {}

  ~HeartbeatCall() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    watcher_.join();
    if (process_ && !told_) end_(name_, "its gateway let go of it");
  }

  void heard(const std::shared_ptr<ComputeProcess>& process, const std::string& name) {
    const std::lock_guard lock(mutex_);
    name_ = name;
    process_ = process;
    silence_end_ = after(gateway_silence_);
  }

  void write(const v1::HeartbeatReply& reply) {
    const std::lock_guard lock(write_mutex_);
    stream_.Write(reply);
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!ended_) {
      const auto process = process_;
      const std::string name = name_;
      const Deadline silence_end = silence_end_;
      lock.unlock();
      if (Clock::now() > silence_end || stopping_.load()) context_.TryCancel();
      if (process && !told_ && process->wait_failed(after(timing::kWatch))) {
        told_ = true;
        const v1::HeartbeatReply last = process->heartbeat();
        end_(name, one_line(last.error().message(), kMaxReasonBytes));
        write(last);
      }
      lock.lock();
      if (!process || told_) changed_.wait_for(lock, timing::kWatch, [&] { return ended_; });
    }
  }

  grpc::ServerContext& context_;
  HeartbeatStream& stream_;
  const std::atomic<bool>& stopping_;
  const Clock::duration gateway_silence_;
  const End end_;
  std::mutex write_mutex_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<ComputeProcess> process_;
  std::string name_;  // of the rank
  Deadline silence_end_ = after(timing::kHello);
  bool ended_ = false;
  bool told_ = false;  // of the watcher, and after it
  std::thread watcher_;
};

}  // namespace

void UnprovedStreams::add(grpc::ServerContext* context) {
  const std::lock_guard lock(mutex_);
  contexts_.push_back(context);
  if (contexts_.size() <= kMaxUnprovedStreams) return;
  contexts_.front()->TryCancel();
  contexts_.pop_front();
}

void UnprovedStreams::remove(grpc::ServerContext* context) {
  const std::lock_guard lock(mutex_);
  contexts_.remove(context);
}

WorkerService::WorkerService(Supervisor& supervisor, WorkerIdentity identity, WorkerLog* log)
    : supervisor_(supervisor),
      identity_(std::move(identity)),
      log_(log),
      sessions_(identity_.key) {}

void WorkerService::say(const std::string& line) {
  if (log_ != nullptr) log_->say(line);
}

Status WorkerService::told(const grpc::ServerContext& context, const char* call, Status status) {
  if (!status && log_ != nullptr) {
    log_->refuse(fmt::format("refused {} of {}: {}", call, one_line(context.peer(), kMaxPeerBytes),
                             status.error().message));
  }
  return status;
}

std::string WorkerService::name_of(std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  return epoch == loaded_epoch_ ? loaded_name_ : "a rank";
}

grpc::Status WorkerService::Hello(grpc::ServerContext* context, const v1::HelloRequest* request,
                                  v1::HelloReply* reply) {
  const Generations own{identity_.version};
  reply->set_protocol(own.protocol);
  reply->set_version(own.version);
  reply->set_kernels(own.kernels);
  reply->set_held_bytes(supervisor_.held_bytes());
  Status opened =
      check_generations(own, {request->version(), request->protocol(), request->kernels()});
  if (opened) opened = sessions_.open(*request, *reply);
  opened = told(*context, "the greeting", std::move(opened));
  if (!opened) to_wire(opened.error(), *reply->mutable_error());
  return grpc::Status::OK;
}

grpc::Status WorkerService::Describe(grpc::ServerContext* context,
                                     const v1::DescribeRequest* request, v1::DescribeReply* reply) {
  Status done = sessions_.check(request->auth(), "Describe");
  if (done) {
    auto described = describe_place(identity_.place, *request, identity_.executable);
    if (described) *reply = std::move(*described);
    if (!described) done = described.error();
  }
  done = told(*context, "a question", std::move(done));
  if (!done) to_wire(done.error(), *reply->mutable_error());
  return grpc::Status::OK;
}

Result<v1::Loaded> WorkerService::load_within(
    v1::LoadRequest request, const std::function<void(const v1::LoadProgress&)>& progress,
    const std::function<bool()>& cancelled) {
  if (auto kept = keep_to(identity_.place, request); !kept) return kept.error();
  return supervisor_.load(request, progress, cancelled);
}

grpc::Status WorkerService::Load(grpc::ServerContext* context, const v1::LoadRequest* request,
                                 grpc::ServerWriter<v1::LoadReply>* writer) {
  v1::LoadReply reply;
  Status checked = told(*context, "a load", sessions_.check(request->auth(), "Load"));
  if (checked) {
    const std::string name = fmt::format("rank {} (layers {}..{})", request->rank(),
                                         request->first_layer(), request->last_layer() - 1);
    say(name + ": loading " + one_line(request->model(), kMaxReasonBytes));
    auto loaded = load_within(
        *request,
        [&](const v1::LoadProgress& progress) {
          v1::LoadReply news;
          *news.mutable_progress() = progress;
          writer->Write(news);
        },
        [&] { return context->IsCancelled() || stopping_.load(); });
    say(loaded ? fmt::format("{}: loaded, {} bytes resident", name, loaded->memory_bytes())
               : name + ": not loaded: " + one_line(loaded.error().message, kMaxReasonBytes));
    if (loaded) {
      *reply.mutable_loaded() = std::move(*loaded);
      const std::lock_guard lock(mutex_);
      loaded_epoch_ = request->epoch();
      loaded_name_ = name;
    } else {
      checked = loaded.error();
    }
  }
  if (!checked) to_wire(checked.error(), *reply.mutable_error());
  const bool heard = writer->Write(reply);
  // A gateway that gave up while the last byte was loaded will never say Stop for this rank.
  if (checked && (!heard || context->IsCancelled())) supervisor_.release(request->epoch(), true);
  return grpc::Status::OK;
}

grpc::Status WorkerService::Start(grpc::ServerContext* /*context*/, const v1::StartRequest* request,
                                  v1::StartReply* reply) {
  Status joined = sessions_.check(request->auth(), "Start");
  if (joined) joined = supervisor_.join(*request);
  if (!joined) to_wire(joined.error(), *reply->mutable_error());
  return grpc::Status::OK;
}

// The stream's end is the gateway's end, or that of the network between: the rank is given up with
// it, but for its layers.
grpc::Status WorkerService::Heartbeat(grpc::ServerContext* context, HeartbeatStream* stream) {
  std::optional<std::uint64_t> epoch;
  std::optional<Error> refused;
  unproved_.add(context);
  {
    HeartbeatCall call(*context, *stream, stopping_, supervisor_.gateway_silence(),
                       [this](const std::string& rank, const std::string& reason) {
                         say(rank + ": ended: " + reason);
                       });
    v1::HeartbeatRequest request;
    while (stream->Read(&request)) {
      if (auto checked = sessions_.check(request.auth(), "Heartbeat"); !checked) {
        refused = checked.error();
        break;
      }
      if (epoch && *epoch != request.epoch()) break;
      if (!epoch) unproved_.remove(context);
      epoch = request.epoch();
      const auto process = supervisor_.heartbeat(request.epoch());
      call.heard(process, name_of(request.epoch()));
      v1::HeartbeatReply reply = process ? process->heartbeat() : not_held();
      reply.set_request(request.number());
      call.write(reply);
    }
  }
  unproved_.remove(context);
  if (epoch) supervisor_.release(*epoch, true);
  if (refused) return {grpc::StatusCode::UNAUTHENTICATED, refused->message};
  return grpc::Status::OK;
}

grpc::Status WorkerService::Stop(grpc::ServerContext* /*context*/, const v1::StopRequest* request,
                                 v1::StopReply* reply) {
  const Status checked = sessions_.check(request->auth(), "Stop");
  if (checked) supervisor_.release(request->epoch(), request->keep());
  if (!checked) to_wire(checked.error(), *reply->mutable_error());
  return grpc::Status::OK;
}

}  // namespace tandem::cluster
