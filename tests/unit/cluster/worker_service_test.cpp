// A worker's gRPC face, without compute children.

#include "cluster/rank/worker_service.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <atomic>
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
#include "cluster/trust/call_proof.h"
#include "cluster/trust/credentials.h"
#include "cluster/trust/grpc_credentials.h"
#include "cluster/wire/generations.h"
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

v1::LoadRequest load_request(const std::string& gateway = "one", std::uint64_t epoch = 5) {
  v1::LoadRequest request;
  request.set_gateway(gateway);
  request.set_epoch(epoch);
  request.set_last_layer(1);
  return request;
}

TEST(WorkerService, SaysWhoItIs) {
  const RunningWorker worker("1.2.3");
  const auto client = WorkerClient::connect(worker.host(), {}, "1.2.3");
  ASSERT_TRUE(client.ok()) << client.error().message;
  EXPECT_EQ((*client)->hello().version(), "1.2.3");
  EXPECT_EQ((*client)->hello().protocol(), kProtocolGeneration);
  EXPECT_EQ((*client)->hello().kernels(), kernels::kGeneration);
}

TEST(WorkerService, TheWayToItIsTimed) {
  const RunningWorker worker("1", "the cluster's key");
  Credentials credentials;
  credentials.key = "the cluster's key";
  const auto client = WorkerClient::connect(worker.host(), credentials, "1");
  ASSERT_TRUE(client.ok()) << client.error().message;
  const auto way = (*client)->measure_link();
  ASSERT_TRUE(way.ok()) << way.error().message;
  EXPECT_GT(way->latency, 0);
  EXPECT_GT(way->rate, 1e5);
}

TEST(WorkerService, AnotherVersionOfTheSameGenerationsIsWelcome) {
  const RunningWorker worker("1.2.3");
  EXPECT_TRUE(WorkerClient::connect(worker.host(), {}, "1.2.4").ok());
}

TEST(WorkerService, AGatewayOfAnotherGenerationIsRefused) {
  const RunningWorker worker("1.2.3");
  const auto stub = v1::Worker::NewStub(
      grpc::CreateChannel(config::to_string(worker.host()), grpc::InsecureChannelCredentials()));
  v1::HelloRequest request;
  request.set_version("9\n\x1b[31m");
  request.set_nonce(std::string(kNonceBytes, 'n'));
  request.set_protocol(kProtocolGeneration);
  request.set_kernels(kernels::kGeneration + 1);
  v1::HelloReply reply;
  grpc::ClientContext context;
  ASSERT_TRUE(stub->Hello(&context, request, &reply).ok());
  EXPECT_EQ(reply.error().code(), v1::ERROR_CODE_INVALID_ARGUMENT);
  EXPECT_THAT(reply.error().message(), HasSubstr("update tandem on the worker's machine"));
  EXPECT_EQ(reply.error().message().find_first_of("\n\x1b"), std::string::npos);
}

TEST(Generations, TheOlderSideIsToBeUpdated) {
  const auto refusal = [](std::uint32_t protocol, std::uint32_t kernels) {
    const auto checked = check_generations({"0.1", protocol, kernels}, {"0.2", 7, 7});
    return checked.ok() ? std::string("accepted") : checked.error().message;
  };
  EXPECT_EQ(refusal(7, 7), "accepted");
  EXPECT_EQ(refusal(7, 6),
            "is tandem 0.1 (protocol 7, kernels 6), the gateway is tandem 0.2 "
            "(protocol 7, kernels 7): update tandem on the worker's machine");
  EXPECT_THAT(refusal(6, 8), HasSubstr("on the worker's machine"));
  EXPECT_THAT(refusal(7, 8), HasSubstr("on the gateway's machine"));
  EXPECT_THAT(refusal(8, 1), HasSubstr("on the gateway's machine"));
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
  v1::EchoReply echoed;
  grpc::ClientContext echo;
  v1::EchoRequest words;
  words.set_payload("for free");
  ASSERT_TRUE(stub->Echo(&echo, words, &echoed).ok());
  EXPECT_THAT(echoed.error().message(), HasSubstr("cluster key"));
  EXPECT_EQ(echoed.payload(), "");
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

// A load that is under way on a worker whose children never answer.
class PendingLoad {
 public:
  PendingLoad(const RunningWorker& worker, v1::LoadRequest request)
      : client_(WorkerClient::connect(worker.host(), {}, "1")) {
    EXPECT_TRUE(client_.ok());
    thread_ = std::thread([this, request] {
      const auto loaded = (*client_)->load(request, [this](const auto&) { begun_ = true; }, [] {});
      if (!loaded) error_ = loaded.error().message;
      ended_ = true;
    });
  }
  ~PendingLoad() {
    if (!thread_.joinable()) return;
    (*client_)->cancel();
    thread_.join();
  }
  bool begins() { return becomes(begun_); }
  std::string error() {
    EXPECT_TRUE(becomes(ended_));
    (*client_)->cancel();
    thread_.join();
    return error_;
  }

 private:
  static bool becomes(const std::atomic<bool>& flag) {
    const Deadline end = after(kLong);
    while (!flag && Clock::now() < end) std::this_thread::sleep_for(timing::kWatch);
    return flag;
  }
  Result<std::unique_ptr<WorkerClient>> client_;
  std::atomic<bool> begun_{false};
  std::atomic<bool> ended_{false};
  std::string error_;
  std::thread thread_;
};

TEST(Supervisor, ANewerEpochOfTheSameGatewayTakesThePlaceOfTheOlder) {
  const RunningWorker worker("1", {}, "exec sleep 100");
  PendingLoad older(worker, load_request("one", 5));
  ASSERT_TRUE(older.begins());
  PendingLoad newer(worker, load_request("one", 6));
  EXPECT_THAT(older.error(), HasSubstr("was loaded anew by its gateway"));
  EXPECT_TRUE(newer.begins());
  PendingLoad late(worker, load_request("one", 5));
  EXPECT_THAT(late.error(), HasSubstr("meanwhile"));
}

TEST(Supervisor, AnotherGatewayFindsItBusyHoweverNewItsEpoch) {
  const RunningWorker worker("1", {}, "exec sleep 100");
  PendingLoad holder(worker, load_request("one", 5));
  ASSERT_TRUE(holder.begins());
  PendingLoad other(worker, load_request("other", 6));
  EXPECT_THAT(other.error(), HasSubstr("is busy"));
}

// Says Hello, refuses loads, and keeps what it was told to stop.
class StopListener final : public v1::Worker::Service {
 public:
  StopListener() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", server_credentials({}), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  grpc::Status Hello(grpc::ServerContext*, const v1::HelloRequest* request,
                     v1::HelloReply* reply) override {
    reply->set_protocol(kProtocolGeneration);
    reply->set_kernels(kernels::kGeneration);
    EXPECT_TRUE(sessions_.open(*request, *reply).ok());
    return grpc::Status::OK;
  }
  grpc::Status Load(grpc::ServerContext*, const v1::LoadRequest*,
                    grpc::ServerWriter<v1::LoadReply>*) override {
    return grpc::Status::OK;
  }
  grpc::Status Stop(grpc::ServerContext*, const v1::StopRequest* request, v1::StopReply*) override {
    stopped = request->epoch();
    return grpc::Status::OK;
  }
  config::Host host() const { return {"127.0.0.1", static_cast<std::uint16_t>(port_), {}}; }

  std::atomic<std::uint64_t> stopped{0};

 private:
  SessionBook sessions_{""};
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(WorkerClient, ACancelledClientStillSaysStop) {
  StopListener worker;
  const auto client = WorkerClient::connect(worker.host(), {}, "1");
  ASSERT_TRUE(client.ok()) << client.error().message;
  EXPECT_FALSE((*client)->load(load_request("one", 5), [](const auto&) {}, [] {}).ok());
  (*client)->cancel();
  (*client)->stop(false);
  EXPECT_EQ(worker.stopped, 5);
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
