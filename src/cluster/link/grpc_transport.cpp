#include "cluster/link/grpc_transport.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "base/check.h"
#include "cluster/link/grpc_predecessor.h"
#include "cluster/link/grpc_ring_state.h"
#include "cluster/link/grpc_successor.h"
#include "cluster/timing.h"
#include "cluster/trust/grpc_credentials.h"

namespace tandem::cluster {
namespace {

constexpr auto kRetryPause = std::chrono::milliseconds(20);
constexpr int kMaxMessageBytes = static_cast<int>(kMaxChunkBytes + kChunkHeaderBytes);
// Messages other than pieces of frames are far smaller; data frames of this size keep a decode
// frame in one.
constexpr int kHttp2FrameBytes = 1 << 16;

int milliseconds(std::chrono::milliseconds time) { return static_cast<int>(time.count()); }

Status check_options(const GrpcLinkOptions& options) {
  if (options.cluster.empty() || options.cluster.size() > 128) {
    return invalid("link: the cluster id has 1 to 128 bytes");
  }
  if (options.stages < 1 || options.rank < kGatewayRank || options.rank >= options.stages) {
    return invalid("link: rank " + std::to_string(options.rank) + " is not one of a ring of " +
                   std::to_string(options.stages) + " stages");
  }
  if (options.keepalive_every.count() < 1 || options.keepalive_timeout.count() < 1) {
    return invalid("link: keepalive times are at least 1 ms");
  }
  return check_exposure(options.credentials, options.listen);
}

std::unique_ptr<grpc::Server> start_server(const GrpcLinkOptions& options,
                                           grpc::CallbackGenericService& service, int& port) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options.listen, server_credentials(options.credentials), &port);
  builder.RegisterCallbackGenericService(&service);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kHttp2FrameBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(options.keepalive_every));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             milliseconds(options.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The dialer pings as often as we do; gRPC would take it for an attack.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             milliseconds(options.keepalive_every) / 2);
  return builder.BuildAndStart();
}

std::shared_ptr<grpc::Channel> make_channel(const GrpcLinkOptions& options,
                                            const std::string& address) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kMaxMessageBytes);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, milliseconds(timing::kConnect));
  args.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kHttp2FrameBytes);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(options.keepalive_every));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, milliseconds(options.keepalive_timeout));
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(address, channel_credentials(options.credentials), args);
}

std::string with_port(const std::string& listen, int port) {
  return listen.substr(0, listen.rfind(':') + 1) + std::to_string(port);
}

}  // namespace

struct GrpcTransport::Impl {
  explicit Impl(const GrpcLinkOptions& given)
      : options(given),
        state(RingMember{given.cluster, given.epoch, given.rank, given.stages,
                         given.credentials.key}),
        service(state) {}

  // Waits on `moved` until ready() or closed or error; false at the deadline.
  template <class Ready>
  bool wait(std::unique_lock<std::mutex>& lock, Deadline deadline, Ready ready) {
    return state.moved.wait_until(lock, deadline,
                                  [&] { return state.closed || state.error || ready(); });
  }
  Status alive() const {
    if (state.closed) return state.closed_error();
    if (state.error) return *state.error;
    return {};
  }

  Status dial(std::unique_lock<std::mutex>& lock, Deadline deadline);
  Status await_predecessor(std::unique_lock<std::mutex>& lock, Deadline deadline);

  const GrpcLinkOptions options;
  RingState state;
  LinkService service;
  std::unique_ptr<grpc::Server> server;
  std::shared_ptr<grpc::Channel> channel;
  std::string address;
  std::string successor_address;
  std::unique_ptr<SuccessorLink> successor;
};

Status GrpcTransport::Impl::dial(std::unique_lock<std::mutex>& lock, Deadline deadline) {
  std::string reason = "no answer";
  while (true) {
    successor = std::make_unique<SuccessorLink>(state, channel);
    wait(lock, deadline, [&] { return successor->up() || successor->done(); });
    if (auto ok = alive(); !ok) return ok;
    if (successor->up()) return {};
    if (successor->refusal()) return *successor->refusal();
    if (successor->done()) reason = successor->reason();
    if (Clock::now() + kRetryPause >= deadline) {
      return Error{ErrorCode::kDeadlineExceeded, rank_name(state.member.successor()) + " at " +
                                                     successor_address +
                                                     " was not reached in time: " + reason};
    }
    // Nothing but close() or an error ends this pause early.
    wait(lock, after(kRetryPause), [] { return false; });
    if (auto ok = alive(); !ok) return ok;
  }
}

Status GrpcTransport::Impl::await_predecessor(std::unique_lock<std::mutex>& lock,
                                              Deadline deadline) {
  const bool came = wait(lock, deadline, [&] { return state.predecessor != nullptr; });
  if (auto ok = alive(); !ok) return ok;
  if (came) return {};
  std::string message = rank_name(state.member.predecessor()) + " did not connect to " + address;
  if (!state.last_refusal.empty()) {
    message += "; the last peer that tried was refused: " + state.last_refusal;
  }
  return Error{ErrorCode::kDeadlineExceeded, message};
}

GrpcTransport::GrpcTransport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<GrpcTransport>> GrpcTransport::listen(const GrpcLinkOptions& options) {
  if (auto ok = check_options(options); !ok) return ok.error();
  auto impl = std::make_unique<Impl>(options);
  int port = 0;
  impl->server = start_server(options, impl->service, port);
  if (!impl->server || port == 0) {
    return Error{ErrorCode::kUnavailable,
                 options.listen +
                     ": cannot listen: the port is taken, or it is not an address of "
                     "this machine"};
  }
  impl->address = with_port(options.listen, port);
  return std::unique_ptr<GrpcTransport>(new GrpcTransport(std::move(impl)));
}

// gRPC's reactors refer to the state until the last of them is done, so it ends with a thread that
// waits for that; nearly always at once. A machine so busy that it takes longer is no bug.
GrpcTransport::~GrpcTransport() {
  if (!impl_) return;
  close();
  const Clock::duration patience = impl_->options.end_within;
  auto ended = std::make_shared<std::promise<void>>();
  std::future<void> end = ended->get_future();
  std::thread undertaker([ended, impl = std::move(impl_)]() mutable {
    if (impl->server) impl->server->Shutdown(std::chrono::system_clock::now());
    {
      RingState& state = impl->state;
      std::unique_lock lock(state.mutex);
      const auto over = [&] {
        return state.reactors == 0 && (!impl->successor || impl->successor->done());
      };
      while (!over()) state.moved.wait_for(lock, timing::kReceivePoll);
    }
    impl.reset();
    ended->set_value();
  });
  if (end.wait_for(patience) == std::future_status::ready) {
    undertaker.join();
  } else {
    undertaker.detach();
  }
}

std::string GrpcTransport::address() const { return impl_->address; }

Status GrpcTransport::connect(const std::string& successor, Deadline deadline) {
  if (auto ok = check_exposure(impl_->options.credentials, successor); !ok) return ok;
  std::unique_lock lock(impl_->state.mutex);
  check(!impl_->channel, "connect() is called once");
  if (auto ok = impl_->alive(); !ok) return ok;  // close() has been here: it would cancel nothing
  impl_->channel = make_channel(impl_->options, successor);
  impl_->successor_address = successor;
  if (auto ok = impl_->dial(lock, deadline); !ok) return ok;
  return impl_->await_predecessor(lock, deadline);
}

Result<std::string> GrpcTransport::receive(Deadline deadline) {
  RingState& state = impl_->state;
  std::unique_lock lock(state.mutex);
  const bool woken = state.arrived.wait_until(
      lock, deadline, [&] { return state.closed || !state.inbox.empty() || state.error; });
  if (state.closed) return state.closed_error();
  if (!woken) {
    return Error{ErrorCode::kDeadlineExceeded,
                 "no frame from " + rank_name(state.member.predecessor()) + " in time"};
  }
  // What arrived before the ring broke is still delivered: a failure frame says more.
  if (state.inbox.empty()) return *state.error;
  std::string frame = std::move(state.inbox.front());
  state.inbox.pop_front();
  state.inbox_bytes -= frame.size();
  if (state.predecessor != nullptr && !state.inbox_full()) state.predecessor->resume();
  return frame;
}

Status GrpcTransport::send(EncodedFrame frame, Deadline deadline) {
  RingState& state = impl_->state;
  std::unique_lock lock(state.mutex);
  const auto usable = [&] { return impl_->successor && impl_->successor->up(); };
  check(state.closed || state.error || usable(), "send() comes after connect()");
  const bool room = impl_->wait(
      lock, deadline, [&] { return impl_->successor->queued() < kMaxQueuedFrames || !usable(); });
  if (auto ok = impl_->alive(); !ok) return ok;
  if (!room) {
    return Error{ErrorCode::kDeadlineExceeded,
                 rank_name(state.member.successor()) + " takes no frames"};
  }
  impl_->successor->send(std::move(frame));
  return {};
}

Status GrpcTransport::drain(Deadline deadline) {
  RingState& state = impl_->state;
  std::unique_lock lock(state.mutex);
  if (!impl_->successor) return {};
  SuccessorLink& link = *impl_->successor;
  const auto stuck = [&] {
    return Error{ErrorCode::kDeadlineExceeded,
                 rank_name(state.member.successor()) + " did not take all frames in time"};
  };
  // The predecessor's end is no reason to give up on the successor.
  const auto over = [&] { return state.closed || link.done() || !link.up(); };
  if (!state.moved.wait_until(lock, deadline, [&] { return over() || link.idle(); })) {
    return stuck();
  }
  if (link.idle() && link.up()) link.end_frames();
  if (!state.moved.wait_until(lock, deadline, [&] { return state.closed || link.done(); })) {
    return stuck();
  }
  if (state.closed) return state.closed_error();
  if (link.frames_ended() && link.queued() == 0) return {};
  return Error{ErrorCode::kUnavailable, rank_name(state.member.successor()) + " is gone"};
}

void GrpcTransport::close() {
  RingState& state = impl_->state;
  const std::lock_guard lock(state.mutex);
  if (state.closed) return;
  state.closed = true;
  if (impl_->successor) impl_->successor->cancel();
  if (state.predecessor != nullptr) state.predecessor->cancel();
  for (PredecessorLink* link : state.handshakes) link->cancel();
  state.arrived.notify_all();
  state.moved.notify_all();
}

void GrpcTransport::probe() {
  const std::lock_guard lock(impl_->state.mutex);
  if (!impl_->state.closed && impl_->successor) impl_->successor->probe(Clock::now());
}

std::optional<Clock::duration> GrpcTransport::round_trip() const {
  const std::lock_guard lock(impl_->state.mutex);
  return impl_->successor ? impl_->successor->round_trip() : std::nullopt;
}

std::uint64_t GrpcTransport::received_bytes() const { return stats().bytes_received; }

LinkStats GrpcTransport::stats() const {
  const std::lock_guard lock(impl_->state.mutex);
  return impl_->state.stats;
}

void quiet_grpc_log() {
  // gRPC reads it once, at its first use; the user's own choice is kept.
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
}

}  // namespace tandem::cluster
