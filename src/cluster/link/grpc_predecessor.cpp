#include "cluster/link/grpc_predecessor.h"

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace tandem::cluster {
namespace {

constexpr auto kHandshakeTime = std::chrono::seconds(5);

// Feeds a message to the assembler. True: accepted; false: of another epoch.
Result<bool> feed(const std::vector<grpc::Slice>& slices, std::size_t size,
                  FrameAssembler& assembler) {
  if (size < kChunkHeaderBytes) {
    return Error{ErrorCode::kInternal, "link: a message shorter than its header"};
  }
  ChunkHeader header;
  std::size_t have = 0;
  bool begun = false;
  for (const grpc::Slice& slice : slices) {
    std::string_view part(reinterpret_cast<const char*>(slice.begin()), slice.size());
    const std::size_t wanted = std::min(part.size(), kChunkHeaderBytes - have);
    std::memcpy(header.data() + have, part.data(), wanted);
    have += wanted;
    part.remove_prefix(wanted);
    if (have < kChunkHeaderBytes) continue;
    if (!begun) {
      auto ours = assembler.begin(header, size - kChunkHeaderBytes);
      if (!ours || !*ours) return ours;
      begun = true;
    }
    assembler.append(part);
  }
  return true;
}

}  // namespace

std::string to_string(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  if (!buffer.Dump(&slices).ok()) return out;
  for (const grpc::Slice& slice : slices) {
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return out;
}

grpc::ByteBuffer to_buffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

PredecessorLink::PredecessorLink(RingState& state, grpc::CallbackServerContext& context)
    : state_(state),
      context_(context),
      started_(Clock::now()),
      handshake_(state.member),
      assembler_(state.member.epoch) {
  const std::lock_guard lock(state_.mutex);
  ++state_.reactors;
  auto& handshakes = state_.handshakes;
  while (!handshakes.empty() && (handshakes.size() >= kMaxHandshakes ||
                                 handshakes.front()->started() + kHandshakeTime < started_)) {
    handshakes.front()->cancel();
    handshakes.pop_front();
  }
  if (state_.closed) {
    finished_ = true;
    Finish(grpc::Status::CANCELLED);
    return;
  }
  handshakes.push_back(this);
  StartRead(&in_);
}

void PredecessorLink::resume() {
  if (!paused_ || finished_) return;
  paused_ = false;
  StartRead(&in_);
}

void PredecessorLink::cancel() { context_.TryCancel(); }

void PredecessorLink::OnReadDone(bool ok) {
  if (!ok) {
    const std::lock_guard lock(state_.mutex);
    return on_end();
  }
  switch (step_) {
    case Step::kOpen:
      return on_open();
    case Step::kProof:
      return on_proof();
    case Step::kFrames:
      return on_frame_piece();
  }
}

void PredecessorLink::on_open() {
  ListenerReply reply = handshake_.on_open(to_string(in_));
  const std::lock_guard lock(state_.mutex);
  step_ = Step::kProof;
  answer(std::move(reply));
}

void PredecessorLink::on_proof() {
  const std::string bytes = to_string(in_);
  const std::lock_guard lock(state_.mutex);
  ListenerReply reply = handshake_.on_proof(bytes, state_.had_predecessor);
  if (reply.refused.empty()) {
    step_ = Step::kFrames;
    state_.had_predecessor = true;
    state_.predecessor = this;
    state_.handshakes.remove(this);
    state_.moved.notify_all();
  }
  answer(std::move(reply));
}

// With the mutex held. gRPC may report the end of a write after the answer to it has been read, so
// a second answer waits.
void PredecessorLink::answer(ListenerReply reply) {
  const bool go_on = reply.refused.empty();
  if (!go_on) refuse(reply.refused);
  if (writing_) {
    pending_ = std::move(reply);
  } else {
    write(reply);
  }
  if (go_on) StartRead(&in_);
}

// With the mutex held.
void PredecessorLink::write(const ListenerReply& reply) {
  out_ = to_buffer(reply.bytes);
  writing_ = true;
  if (reply.refused.empty()) return StartWrite(&out_);
  finished_ = true;
  StartWriteAndFinish(&out_, grpc::WriteOptions(), grpc::Status::OK);
}

// With the mutex held.
void PredecessorLink::refuse(const std::string& why) {
  ++state_.stats.peers_refused;
  state_.last_refusal = why;
  state_.handshakes.remove(this);
  if (state_.predecessor == this) state_.predecessor = nullptr;
  state_.moved.notify_all();
}

// Gives a probe back. Of those that come while something is still being written, the last one:
// whoever sends so many gets no more of this rank's time.
bool PredecessorLink::on_probe() {
  if (in_.Length() != kProbeBytes) return false;
  if (!read_probe(to_string(in_), state_.member.epoch)) return false;
  const std::lock_guard lock(state_.mutex);
  probe_ = in_;  // shares the bytes
  if (!writing_) write_probe();
  read_on();
  return true;
}

// With the mutex held.
void PredecessorLink::write_probe() {
  if (finished_) return;
  out_ = *std::exchange(probe_, std::nullopt);
  writing_ = true;
  StartWrite(&out_);
}

void PredecessorLink::on_frame_piece() {
  if (on_probe()) return;
  std::vector<grpc::Slice> slices;
  const std::size_t size = in_.Length();
  const bool dumped = in_.Dump(&slices).ok();
  auto ours = dumped ? feed(slices, size, assembler_)
                     : Result<bool>(Error{ErrorCode::kInternal, "link: unreadable message"});
  std::optional<std::string> frame;
  if (ours && *ours) frame = assembler_.end();
  const std::lock_guard lock(state_.mutex);
  if (!ours) {
    const Error& why = ours.error();
    state_.fail({why.code, why.message + " from " + rank_name(state_.member.predecessor())});
    return finish();
  }
  if (*ours) state_.stats.bytes_received += size;
  if (!*ours) ++state_.stats.frames_dropped;
  if (frame) {
    ++state_.stats.frames_received;
    state_.inbox_bytes += frame->size();
    state_.inbox.push_back(std::move(*frame));
    state_.arrived.notify_one();
  }
  read_on();
}

// With the mutex held.
void PredecessorLink::read_on() {
  if (finished_) return;
  paused_ = state_.inbox_full();
  if (!paused_) return StartRead(&in_);
  if (cancelled_) on_end();
}

// A read that is under way ends too; when none is, because the inbox is full, this is all we hear.
void PredecessorLink::OnCancel() {
  const std::lock_guard lock(state_.mutex);
  cancelled_ = true;
  if (paused_) on_end();
}

// With the mutex held.
void PredecessorLink::on_end() {
  if (state_.predecessor == this) {
    state_.predecessor = nullptr;
    const std::string name = rank_name(state_.member.predecessor());
    state_.fail({ErrorCode::kUnavailable, context_.IsCancelled()
                                              ? name + " is gone: its link to this rank broke"
                                              : name + " closed its link to this rank"});
  } else if (!finished_ && step_ != Step::kFrames) {
    refuse("it left before the handshake was done");
  }
  finish();
}

// With the mutex held. Finish may not overtake a write.
void PredecessorLink::finish() {
  if (finished_) return;
  if (writing_) {
    finish_wanted_ = true;
    return;
  }
  finished_ = true;
  Finish(grpc::Status::OK);
}

void PredecessorLink::OnWriteDone(bool) {
  const std::lock_guard lock(state_.mutex);
  writing_ = false;
  if (finish_wanted_) return finish();
  if (pending_) return write(*std::exchange(pending_, std::nullopt));
  if (probe_) write_probe();
}

void PredecessorLink::OnDone() {
  {
    const std::lock_guard lock(state_.mutex);
    state_.handshakes.remove(this);
    if (state_.predecessor == this) state_.predecessor = nullptr;
    --state_.reactors;
    state_.moved.notify_all();
  }
  delete this;  // gRPC's contract for server reactors
}

grpc::ServerGenericBidiReactor* LinkService::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  if (context->method() == kLinkMethod) {
    return std::make_unique<PredecessorLink>(state_, *context).release();
  }
  return grpc::CallbackGenericService::CreateReactor(context);
}

}  // namespace tandem::cluster
