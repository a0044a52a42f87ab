#include "cluster/link/ring_end.h"

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "cluster/link/grpc_transport.h"
#include "cluster/link/mlx_transport.h"
#include "cluster/timing.h"
#include "cluster/wire/net_address.h"
#include "config/hosts.h"

namespace tandem::cluster {
namespace {

class GrpcRingEnd final : public RingEnd {
 public:
  explicit GrpcRingEnd(std::unique_ptr<GrpcTransport> transport)
      : transport_(std::move(transport)) {}

  std::string address() const override { return transport_->address(); }
  Status join(const RingPeers& peers, Deadline deadline) override {
    return transport_->connect(peers.successor, deadline);
  }
  Transport& transport() override { return *transport_; }
  void close() override { transport_->close(); }

 private:
  std::unique_ptr<GrpcTransport> transport_;
};

// Joining blocks inside MLX, so it is done by a thread that close() can leave behind.
class MlxRingEnd final : public RingEnd {
 public:
  MlxRingEnd(const RingOptions& options, std::string address) : address_(std::move(address)) {
    link_.epoch = options.epoch;
    link_.rank = options.rank;
    link_.stages = options.stages;
  }

  std::string address() const override { return address_; }
  Status join(const RingPeers& peers, Deadline deadline) override {
    link_.group.backend = peers.mlx_backend;
    link_.group.hostfile = peers.mlx_hostfile;
    std::thread([attempt = attempt_, link = link_, deadline] {
      auto joined = MlxTransport::join(link, deadline);
      const std::lock_guard lock(attempt->mutex);
      attempt->outcome.emplace(std::move(joined));
      attempt->changed.notify_all();
    }).detach();
    std::unique_lock lock(attempt_->mutex);
    attempt_->changed.wait_until(lock, deadline + timing::kControl,
                                 [&] { return attempt_->closed || attempt_->outcome.has_value(); });
    if (attempt_->closed) return Error{ErrorCode::kCancelled, "the mlx group was given up"};
    if (!attempt_->outcome) return Error{ErrorCode::kDeadlineExceeded, "the mlx group hangs"};
    if (!*attempt_->outcome) return attempt_->outcome->error();
    transport_ = std::move(**attempt_->outcome);
    return {};
  }
  Transport& transport() override { return *transport_; }
  void close() override {
    const std::lock_guard lock(attempt_->mutex);
    attempt_->closed = true;
    attempt_->changed.notify_all();
    if (transport_) transport_->close();
  }

 private:
  // Shared with the joining thread, which may outlive this object.
  struct Attempt {
    std::mutex mutex;
    std::condition_variable changed;
    bool closed = false;
    std::optional<Result<std::unique_ptr<MlxTransport>>> outcome;
  };

  const std::string address_;
  MlxLinkOptions link_;
  const std::shared_ptr<Attempt> attempt_ = std::make_shared<Attempt>();
  std::unique_ptr<MlxTransport> transport_;  // written under the attempt's mutex
};

Result<std::unique_ptr<RingEnd>> open_mlx(const RingOptions& options) {
  const std::string name = host_of(options.listen);
  auto port = static_cast<std::uint16_t>(port_of(options.listen));
  if (port == 0) {
    auto found = free_port(name);
    if (!found) return found.error();
    port = *found;
  }
  return std::unique_ptr<RingEnd>(
      std::make_unique<MlxRingEnd>(options, config::to_string({name, port, {}})));
}

}  // namespace

Result<std::unique_ptr<RingEnd>> RingEnd::open(const RingOptions& options) {
  if (options.transport == "mlx") return open_mlx(options);
  if (options.transport != "grpc") {
    return invalid("transport must be grpc or mlx, not \"" + options.transport + "\"");
  }
  GrpcLinkOptions link;
  link.cluster = options.cluster;
  link.epoch = options.epoch;
  link.rank = options.rank;
  link.stages = options.stages;
  link.listen = options.listen;
  link.credentials = options.credentials;
  // On one machine a socket tells all there is to know, and a gateway may be stopped for long (^Z).
  const bool near = is_loopback_name(host_of(options.listen));
  link.keepalive_every = near ? timing::kNoKeepalive : timing::kKeepalive;
  link.keepalive_timeout = timing::kLinkKeepaliveTimeout;
  auto transport = GrpcTransport::listen(link);
  if (!transport) return transport.error();
  return std::unique_ptr<RingEnd>(std::make_unique<GrpcRingEnd>(std::move(*transport)));
}

}  // namespace tandem::cluster
