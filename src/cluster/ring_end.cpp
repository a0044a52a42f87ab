#include "cluster/ring_end.h"

#include <utility>

#include "cluster/grpc_transport.h"

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

 private:
  std::unique_ptr<GrpcTransport> transport_;
};

}  // namespace

Result<std::unique_ptr<RingEnd>> RingEnd::open(const RingOptions& options) {
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
  auto transport = GrpcTransport::listen(link);
  if (!transport) return transport.error();
  return std::unique_ptr<RingEnd>(std::make_unique<GrpcRingEnd>(std::move(*transport)));
}

}  // namespace tandem::cluster
