#pragma once
// The dialing end of a grpc link.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "cluster/link/grpc_ring_state.h"
#include "cluster/link/link_handshake.h"
#include "cluster/link/link_pace.h"
#include "cluster/link/round_trips.h"
#include "cluster/wire/encoded_frame.h"
#include "tandem/deadline.h"

namespace tandem::cluster {

/// One attempt to reach the successor, and the stream of frames to it. Owned by the transport,
/// which destroys it once done(). All members but the On functions are called with the state's
/// mutex held.
class SuccessorLink final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  SuccessorLink(RingState& state, const std::shared_ptr<grpc::Channel>& channel);

  /// The handshake is done: frames may be sent.
  bool up() const { return step_ == Step::kFrames && !ended_; }
  /// gRPC has let go of it.
  bool done() const { return done_; }
  /// Why the stream ended; gRPC's words where it has any.
  const std::string& reason() const { return reason_; }
  /// The successor's answer in the handshake was no: trying again is of no use.
  const std::optional<Error>& refusal() const { return refusal_; }

  /// Frames waiting, the one being written among them.
  std::size_t queued() const { return outbox_.size(); }
  /// Nothing waits and nothing is being written, no probe either.
  bool idle() const { return outbox_.empty() && !writing_; }
  void send(EncodedFrame frame);
  /// Sends a probe as soon as nothing else is being sent, unless one is under way.
  void probe(Clock::time_point now);
  std::optional<Clock::duration> round_trip() const { return trips_.shortest(); }
  /// No frames after this; the successor ends the stream when it has read all.
  void end_frames();
  bool frames_ended() const { return frames_ended_; }
  void cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  enum class Step { kChallenge, kWelcome, kFrames };

  void on_challenge();
  void on_welcome();
  void on_answer();
  void write_next();
  void write_piece();
  void write_probe();
  void write(const grpc::ByteBuffer& message);
  void end();

  RingState& state_;
  DialerHandshake handshake_;
  grpc::ClientContext context_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
  Step step_ = Step::kChallenge;
  grpc::ByteBuffer in_;
  grpc::ByteBuffer out_;
  std::deque<std::shared_ptr<const EncodedFrame>> outbox_;  // shared with slices that gRPC holds
  std::size_t offset_ = 0;  // bytes of outbox_.front() that are written or being written
  bool writing_ = false;
  bool piece_out_ = false;            // what is being written is a piece of outbox_.front()
  std::optional<std::string> proof_;  // waits for the write before it
  bool frames_ended_ = false;
  bool probe_wanted_ = false;
  std::uint64_t last_probe_ = 0;
  std::uint64_t answered_probe_ = 0;
  RoundTrips trips_;
  LinkPace pace_;
  std::size_t piece_bytes_ = 0;      // of the piece that is being written
  Clock::time_point piece_began_{};  // when its writing began
  bool ended_ = false;               // the hold is gone: no more Start calls from outside
  bool done_ = false;
  std::string reason_;
  std::optional<Error> refusal_;
};

}  // namespace tandem::cluster
