#pragma once
// The listening end of a grpc link.

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <optional>
#include <string>

#include "cluster/link/grpc_ring_state.h"
#include "cluster/link/link_handshake.h"
#include "cluster/wire/frame_chunks.h"
#include "tandem/deadline.h"

namespace tandem::cluster {

/// One incoming stream: a handshake, then frames into the state's inbox. Made by LinkService,
/// deletes itself when gRPC is done with it. gRPC's threads run the On functions, one at a time for
/// reads.
class PredecessorLink final : public grpc::ServerGenericBidiReactor {
 public:
  PredecessorLink(RingState& state, grpc::CallbackServerContext& context);

  /// With the state's mutex held: reads on after the inbox was full.
  void resume();
  /// With the state's mutex held: ends the stream.
  void cancel();
  Deadline started() const { return started_; }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  enum class Step { kOpen, kProof, kFrames };

  void on_open();
  void on_proof();
  void on_frame_piece();
  bool on_probe();
  void write_probe();
  void on_end();
  void answer(ListenerReply reply);
  void write(const ListenerReply& reply);
  void refuse(const std::string& why);
  void read_on();
  void finish();

  RingState& state_;
  grpc::CallbackServerContext& context_;
  const Deadline started_;
  ListenerHandshake handshake_;
  FrameAssembler assembler_;
  Step step_ = Step::kOpen;
  grpc::ByteBuffer in_;
  grpc::ByteBuffer out_;
  bool paused_ = false;     // no read is under way, because the inbox is full
  bool cancelled_ = false;  // the stream is broken or was cancelled
  bool writing_ = false;
  std::optional<ListenerReply> pending_;   // waits for the write before it
  std::optional<grpc::ByteBuffer> probe_;  // to be given back, after what is being written
  bool finish_wanted_ = false;
  bool finished_ = false;  // Finish was called: no more Start calls
};

/// Accepts streams of kLinkMethod; any other method is refused.
class LinkService final : public grpc::CallbackGenericService {
 public:
  explicit LinkService(RingState& state) : state_(state) {}
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

 private:
  RingState& state_;
};

/// A message of the wire as one string, at most a chunk and its header long.
std::string to_string(const grpc::ByteBuffer& buffer);
grpc::ByteBuffer to_buffer(const std::string& bytes);

}  // namespace tandem::cluster
