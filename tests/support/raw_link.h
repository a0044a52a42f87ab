#pragma once
// A gRPC stream to a rank's link service that says whatever a test wants.

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "cluster/link/grpc_predecessor.h"

namespace tandem::cluster::testing {

class RawLink {
 public:
  explicit RawLink(const std::string& address)
      : stub_(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own())) {
    stream_ = stub_.PrepareCall(&context_, kLinkMethod, &queue_);
    stream_->StartCall(this);
    wait();
  }
  ~RawLink() {
    context_.TryCancel();
    grpc::Status status;
    stream_->Finish(&status, this);
    wait();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  bool write(const std::string& bytes) {
    stream_->Write(to_buffer(bytes), this);
    return wait();
  }
  /// nullopt: the stream ended.
  std::optional<std::string> read() {
    grpc::ByteBuffer buffer;
    stream_->Read(&buffer, this);
    if (!wait()) return std::nullopt;
    return to_string(buffer);
  }

 private:
  // A connection of its own, as of another process.
  static grpc::ChannelArguments own() {
    grpc::ChannelArguments args;
    args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return args;
  }
  bool wait() {
    void* tag = nullptr;
    bool ok = false;
    const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(10);
    return queue_.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::GOT_EVENT && ok;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

}  // namespace tandem::cluster::testing
