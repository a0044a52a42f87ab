#pragma once
// Ranks of a ring for tests: in this process, or as link_peer processes that send frames on.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cluster/link/grpc_transport.h"
#include "cluster/rank/control.h"
#include "cluster/rank/process.h"
#include "cluster/trust/secrets.h"
#include "tandem.pb.h"
#include "tandem/deadline.h"

namespace tandem::cluster::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline GrpcLinkOptions link_options(int rank, int stages, const Credentials& credentials = {}) {
  GrpcLinkOptions options;
  options.cluster = "test cluster";
  options.epoch = 7;
  options.rank = rank;
  options.stages = stages;
  options.credentials = credentials;
  return options;
}

inline std::unique_ptr<GrpcTransport> listen(const GrpcLinkOptions& options) {
  auto transport = GrpcTransport::listen(options);
  EXPECT_TRUE(transport.ok()) << transport.error().message;
  return transport.ok() ? std::move(*transport) : nullptr;
}

/// Gateway first, then the stages, all connected.
inline std::vector<std::unique_ptr<GrpcTransport>> make_ring(int stages,
                                                             const Credentials& credentials = {}) {
  std::vector<std::unique_ptr<GrpcTransport>> ring;
  for (int rank = kGatewayRank; rank < stages; ++rank) {
    ring.push_back(listen(link_options(rank, stages, credentials)));
  }
  std::vector<std::future<Status>> joins;
  for (std::size_t i = 0; i < ring.size(); ++i) {
    joins.push_back(std::async(std::launch::async, [&, i] {
      return ring[i]->connect(ring[(i + 1) % ring.size()]->address(), after(seconds(20)));
    }));
  }
  for (auto& join : joins) {
    const auto joined = join.get();
    EXPECT_TRUE(joined.ok()) << joined.error().message;
  }
  return ring;
}

/// A link_peer process: stage `rank` of a ring.
class PeerProcess {
 public:
  PeerProcess(const std::string& transport, int rank, int stages,
              const Credentials& credentials = {}) {
    auto child = ChildProcess::start(TANDEM_LINK_PEER, {}, false);
    EXPECT_TRUE(child.ok());
    child_ = std::move(*child);
    channel_ = std::make_unique<ControlChannel>(child_->control());
    v1::LoadRequest load;
    load.set_transport(transport);
    load.set_cluster("test cluster");
    load.set_epoch(7);
    load.set_rank(rank);
    load.set_stages(stages);
    const auto secrets = pack(ChildSecrets{credentials, "127.0.0.1:0"});
    EXPECT_TRUE(channel_->send(ControlKind::kSecret, secrets, after(seconds(2))).ok());
    EXPECT_TRUE(
        channel_->send(ControlKind::kLoad, load.SerializeAsString(), after(seconds(2))).ok());
    address_ = expect(ControlKind::kPort);
  }

  const std::string& address() const { return address_; }
  void start(const v1::StartRequest& request) {
    const auto sent =
        channel_->send(ControlKind::kStart, request.SerializeAsString(), after(seconds(2)));
    EXPECT_TRUE(sent.ok());
  }
  void expect_joined() { expect(ControlKind::kStarted); }
  void signal(int number) { ::kill(child_->pid(), number); }

 private:
  std::string expect(ControlKind kind) {
    auto message = channel_->receive(after(seconds(20)));
    EXPECT_TRUE(message.ok()) << message.error().message;
    if (!message.ok()) return "";
    EXPECT_EQ(message->kind, kind) << message->payload;
    return message->payload;
  }

  std::unique_ptr<ChildProcess> child_;
  std::unique_ptr<ControlChannel> channel_;
  std::string address_;
};

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace tandem::cluster::testing
