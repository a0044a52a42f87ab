#include "cluster/link/grpc_successor.h"

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster/link/grpc_predecessor.h"
#include "cluster/wire/frame_chunks.h"
#include "cluster/wire/wire_error.h"

namespace tandem::cluster {
namespace {

using Owner = std::shared_ptr<const EncodedFrame>;

// Bytes [offset, offset + size) of one of the frame's pieces, which is not copied: the slice keeps
// the frame alive. Nothing where the range lies outside.
void add_slice(const Owner& frame, std::string_view piece, std::size_t offset, std::size_t size,
               std::vector<grpc::Slice>& slices) {
  if (offset >= piece.size() || size == 0) return;
  auto owner = std::make_unique<Owner>(frame);
  auto* start = const_cast<char*>(piece.data()) + offset;  // gRPC does not write to it
  slices.emplace_back(
      start, std::min(size, piece.size() - offset),
      [](void* p) { std::unique_ptr<Owner>(static_cast<Owner*>(p)); }, owner.release());
}

// The header, and bytes [offset, offset + size) of the frame.
grpc::ByteBuffer message_of(const ChunkHeader& header, const Owner& frame, std::size_t offset,
                            std::size_t size) {
  const std::string_view head = frame->head;
  const std::string_view body(reinterpret_cast<const char*>(frame->body.data()),
                              frame->body.size());
  std::vector<grpc::Slice> slices = {grpc::Slice(header.data(), header.size())};
  const std::size_t of_head = std::min(size, head.size() - std::min(offset, head.size()));
  add_slice(frame, head, offset, of_head, slices);
  add_slice(frame, body, offset + of_head - head.size(), size - of_head, slices);
  return {slices.data(), slices.size()};
}

}  // namespace

SuccessorLink::SuccessorLink(RingState& state, const std::shared_ptr<grpc::Channel>& channel)
    : state_(state), handshake_(state.member), stub_(channel) {
  stub_.PrepareBidiStreamingCall(&context_, kLinkMethod, {}, this);
  AddHold();  // frames are written from outside the reactions
  write(to_buffer(handshake_.open()));
  StartRead(&in_);
  StartCall();
}

void SuccessorLink::OnReadDone(bool ok) {
  const std::lock_guard lock(state_.mutex);
  if (!ok) {
    if (step_ == Step::kFrames && !frames_ended_) {
      state_.fail({ErrorCode::kUnavailable,
                   rank_name(state_.member.successor()) + " is gone: the link to it broke"});
    }
    return end();
  }
  switch (step_) {
    case Step::kChallenge:
      return on_challenge();
    case Step::kWelcome:
      return on_welcome();
    case Step::kFrames:
      return on_answer();
  }
}

// The successor gives back probes, each once and in order, and says nothing else. One that was
// stopped for long gives back some that nobody waits for any more.
void SuccessorLink::on_answer() {
  const auto probe =
      in_.Length() == kProbeBytes ? read_probe(to_string(in_), state_.member.epoch) : std::nullopt;
  if (probe && *probe > answered_probe_ && *probe <= last_probe_) {
    answered_probe_ = *probe;
    const auto now = Clock::now();
    trips_.end(*probe, now);
    pace_.answered(*probe, now, trips_.shortest());
    return StartRead(&in_);
  }
  state_.fail({ErrorCode::kInternal,
               rank_name(state_.member.successor()) + " spoke out of turn on its link"});
  context_.TryCancel();
  end();
}

void SuccessorLink::on_challenge() {
  auto proof = handshake_.on_challenge(to_string(in_));
  if (!proof) {
    refusal_ = proof.error();
    context_.TryCancel();
    return end();
  }
  step_ = Step::kWelcome;
  proof_ = std::move(*proof);
  write_next();
  StartRead(&in_);
}

void SuccessorLink::on_welcome() {
  if (auto welcome = handshake_.on_welcome(to_string(in_)); !welcome) {
    refusal_ = welcome.error();
    context_.TryCancel();
    return end();
  }
  step_ = Step::kFrames;
  StartRead(&in_);  // of answers to probes, and its end, which tells that the successor is gone
  write_next();
  state_.moved.notify_all();
}

void SuccessorLink::send(EncodedFrame frame) {
  outbox_.push_back(std::make_shared<const EncodedFrame>(std::move(frame)));
  write_next();
}

void SuccessorLink::probe(Clock::time_point now) {
  if (!up() || frames_ended_ || trips_.under_way(now)) return;
  probe_wanted_ = true;
  write_next();
}

// gRPC may report the end of a write after the answer to it has been read, so every write waits
// here.
void SuccessorLink::write_next() {
  if (writing_ || ended_) return;
  if (proof_) return write(to_buffer(*std::exchange(proof_, std::nullopt)));
  if (step_ != Step::kFrames) return;
  if (outbox_.empty()) {
    if (probe_wanted_ && !frames_ended_) write_probe();
    return;
  }
  write_piece();
}

void SuccessorLink::write_piece() {
  const Owner& frame = outbox_.front();
  const std::size_t size = std::min(pace_.piece(), frame->size() - offset_);
  const auto remaining = static_cast<std::uint32_t>(frame->size() - offset_ - size);
  const ChunkHeader header = make_chunk_header(state_.member.epoch, remaining);
  const grpc::ByteBuffer message = message_of(header, frame, offset_, size);
  offset_ += size;
  piece_out_ = true;
  piece_bytes_ = size;
  piece_began_ = Clock::now();
  write(message);
}

// Frames go first, and the next one is not kept waiting. (The probe behind a piece, which tells how
// fast the link is, goes with it.)
void SuccessorLink::write_probe() {
  probe_wanted_ = false;
  trips_.begin(++last_probe_, Clock::now());
  write(to_buffer(make_probe(state_.member.epoch, last_probe_)));
}

void SuccessorLink::write(const grpc::ByteBuffer& message) {
  out_ = message;  // shares the bytes
  writing_ = true;
  StartWrite(&out_);
}

void SuccessorLink::OnWriteDone(bool ok) {
  const std::lock_guard lock(state_.mutex);
  writing_ = false;
  out_.Clear();     // lets go of the frame
  if (!ok) return;  // the read ends too and says so
  const bool piece = std::exchange(piece_out_, false);
  if (piece && offset_ == outbox_.front()->size()) {
    outbox_.pop_front();
    offset_ = 0;
    ++state_.stats.frames_sent;
  }
  if (piece && pace_.tells(piece_bytes_) && !ended_ && !frames_ended_) {
    pace_.sent(piece_bytes_, piece_began_, ++last_probe_);
    write(to_buffer(make_probe(state_.member.epoch, last_probe_)));
  } else {
    write_next();
  }
  state_.moved.notify_all();
}

void SuccessorLink::end_frames() {
  if (frames_ended_ || ended_) return;
  frames_ended_ = true;
  StartWritesDone();
}

// The hold goes once: after it only reactions run, and they start nothing.
void SuccessorLink::end() {
  if (ended_) return;
  ended_ = true;
  RemoveHold();
}

void SuccessorLink::OnDone(const grpc::Status& status) {
  const std::lock_guard lock(state_.mutex);
  reason_ = one_line(status.error_message(), kMaxReasonBytes);
  if (reason_.empty()) reason_ = "the stream ended";
  done_ = true;
  state_.moved.notify_all();
}

}  // namespace tandem::cluster
