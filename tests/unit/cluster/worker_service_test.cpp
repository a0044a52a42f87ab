// A worker's gRPC face, without compute children.

#include "cluster/rank/worker_service.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cluster/gateway/worker_client.h"
#include "cluster/rank/compute_process.h"
#include "cluster/rank/supervisor.h"
#include "cluster/timing.h"
#include "cluster/trust/grpc_credentials.h"
#include "support/safetensors_writer.h"
#include "support/temp_folder.h"

namespace tandem::cluster {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kLong{20};

// A program to run in the place of this binary.
class Script {
 public:
  explicit Script(const std::string& line) {
    tandem::testing::write_file(file_, "#!/bin/sh\n" + line + "\n");
    std::filesystem::permissions(file_, std::filesystem::perms::owner_all);
  }
  std::string path() const { return file_.string(); }

 private:
  tandem::testing::TempFolder folder_;
  std::filesystem::path file_ = folder_ / "script";
};

// A worker whose compute children are `script`.
class RunningWorker {
 public:
  explicit RunningWorker(const std::string& version, const std::string& key = {},
                         const std::string& script = "exit 1")
      : script_(script), supervisor_(script_.path(), {}), service_(supervisor_, {version, key}) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", server_credentials({}), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    thread_ = std::thread([this] { supervisor_.serve(); });
  }
  ~RunningWorker() {
    supervisor_.stop();
    service_.stop();
    thread_.join();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  }
  config::Host host() const { return {"127.0.0.1", static_cast<std::uint16_t>(port_), {}}; }

 private:
  Script script_;
  Supervisor supervisor_;
  WorkerService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::thread thread_;
};

v1::LoadRequest load_request() {
  v1::LoadRequest request;
  request.set_epoch(5);
  request.set_last_layer(1);
  return request;
}

TEST(WorkerService, SaysWhoItIs) {
  const RunningWorker worker("1.2.3");
  const auto client = WorkerClient::connect(worker.host(), {}, "1.2.3");
  ASSERT_TRUE(client.ok()) << client.error().message;
  EXPECT_EQ((*client)->hello().version(), "1.2.3");
  EXPECT_EQ((*client)->hello().protocol(), kWorkerProtocol);
}

TEST(WorkerService, AnotherVersionIsRefusedNamingBoth) {
  const RunningWorker worker("1.2.3");
  const auto client = WorkerClient::connect(worker.host(), {}, "1.2.4");
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(client.error().message, HasSubstr("1.2.3"));
  EXPECT_THAT(client.error().message, HasSubstr("1.2.4"));
}

TEST(WorkerService, AVersionWithControlCharactersIsShownHarmlessly) {
  const RunningWorker worker("1.2.3");
  const auto client = WorkerClient::connect(worker.host(), {}, "9\n\x1b[31m");
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().message.find_first_of("\n\x1b"), std::string::npos);
}

TEST(WorkerService, WithoutTheKeyNothingCanBeCalled) {
  const RunningWorker worker("1", "the cluster's key");
  const auto stub = v1::Worker::NewStub(
      grpc::CreateChannel(config::to_string(worker.host()), grpc::InsecureChannelCredentials()));
  v1::StartReply started;
  grpc::ClientContext start;
  ASSERT_TRUE(stub->Start(&start, {}, &started).ok());
  EXPECT_THAT(started.error().message(), HasSubstr("cluster key"));
  v1::StopReply stopped;
  grpc::ClientContext stop;
  ASSERT_TRUE(stub->Stop(&stop, {}, &stopped).ok());
  EXPECT_THAT(stopped.error().message(), HasSubstr("cluster key"));
  grpc::ClientContext load;
  const auto loading = stub->Load(&load, {});
  v1::LoadReply reply;
  ASSERT_TRUE(loading->Read(&reply));
  EXPECT_THAT(reply.error().message(), HasSubstr("cluster key"));
  grpc::ClientContext beat;
  const auto heartbeats = stub->Heartbeat(&beat);
  heartbeats->Write({});
  v1::HeartbeatReply heard;
  EXPECT_FALSE(heartbeats->Read(&heard));
  EXPECT_EQ(heartbeats->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST(WorkerService, SilentHeartbeatStreamsGiveWayToNewOnes) {
  const RunningWorker worker("1");
  const auto stub = v1::Worker::NewStub(
      grpc::CreateChannel(config::to_string(worker.host()), grpc::InsecureChannelCredentials()));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  const auto open_streams = [&] {
    std::vector<std::unique_ptr<grpc::ClientReaderWriter<v1::HeartbeatRequest, v1::HeartbeatReply>>>
        streams;
    for (std::size_t i = 0; i < kMaxUnprovedStreams; ++i) {
      contexts.push_back(std::make_unique<grpc::ClientContext>());
      streams.push_back(stub->Heartbeat(contexts.back().get()));
    }
    return streams;
  };
  const auto first = open_streams();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // the worker has taken them all
  const auto begin = Clock::now();
  const auto second = open_streams();
  // Long before they would be given up for their silence.
  for (const auto& stream : first) {
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_LT(Clock::now() - begin, timing::kHello / 2);
  EXPECT_TRUE(WorkerClient::connect(worker.host(), {}, "1").ok());
  for (const auto& context : contexts) context->TryCancel();
}

TEST(WorkerService, AComputeProcessThatDiesAtOnceIsAnErrorNotAHang) {
  const RunningWorker worker("1");
  const auto client = WorkerClient::connect(worker.host(), {}, "1");
  ASSERT_TRUE(client.ok());
  const auto loaded = (*client)->load(load_request(), [](const auto&) {}, [] {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message,
              ::testing::AnyOf(HasSubstr("exited with code 1"), HasSubstr("cannot start")));
}

TEST(WorkerService, ALoadEndsWhenItIsCancelled) {
  const RunningWorker worker("1", {}, "exec sleep 100");
  const auto client = WorkerClient::connect(worker.host(), {}, "1");
  ASSERT_TRUE(client.ok());
  std::thread cancel([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    (*client)->cancel();
  });
  const auto begin = Clock::now();
  EXPECT_FALSE((*client)->load(load_request(), [](const auto&) {}, [] {}).ok());
  EXPECT_LT(Clock::now() - begin, kLong);
  cancel.join();
}

TEST(ComputeProcess, AChildThatExitsIsFailedWithItsCode) {
  const Script script("sleep 0.2; exit 4");
  const auto process = ComputeProcess::start(script.path(), "secrets");
  ASSERT_TRUE(process.ok()) << process.error().message;
  ASSERT_TRUE((*process)->wait_failed(after(kLong)));
  EXPECT_EQ((*process)->heartbeat().error().message(), "exited with code 4");
}

TEST(ComputeProcess, TheFirstFailureIsKept) {
  const Script script("exec sleep 100");
  const auto process = ComputeProcess::start(script.path(), "secrets");
  ASSERT_TRUE(process.ok());
  (*process)->fail(invalid("the first"));
  (*process)->fail(invalid("the second"));
  EXPECT_TRUE((*process)->wait_failed(after(kLong)));
  EXPECT_EQ((*process)->heartbeat().error().message(), "the first");
  EXPECT_EQ((*process)->join({}).error().message, "the first");
}

}  // namespace
}  // namespace tandem::cluster
