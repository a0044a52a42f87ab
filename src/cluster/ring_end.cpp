#include "cluster/ring_end.h"

#include <mutex>
#include <utility>

#include "cluster/grpc_transport.h"
#include "cluster/mlx_transport.h"
#include "cluster/net_address.h"
#include "cluster/timing.h"
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
    auto joined = MlxTransport::join(link_, deadline);
    if (!joined) return joined.error();
    const std::lock_guard lock(mutex_);
    transport_ = std::move(*joined);
    if (closed_) transport_->close();
    return {};
  }
  Transport& transport() override { return *transport_; }
  void close() override {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (transport_) transport_->close();
  }

 private:
  const std::string address_;
  MlxLinkOptions link_;
  std::mutex mutex_;
  bool closed_ = false;
  std::unique_ptr<MlxTransport> transport_;
};

Result<std::unique_ptr<RingEnd>> open_mlx(const RingOptions& options) {
  const std::string name = host_of(options.listen);
  auto port = free_port(name);
  if (!port) return port.error();
  return std::unique_ptr<RingEnd>(
      std::make_unique<MlxRingEnd>(options, config::to_string({name, *port, {}})));
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
  link.keepalive_timeout = timing::kKeepaliveTimeout;
  auto transport = GrpcTransport::listen(link);
  if (!transport) return transport.error();
  return std::unique_ptr<RingEnd>(std::make_unique<GrpcRingEnd>(std::move(*transport)));
}

}  // namespace tandem::cluster
