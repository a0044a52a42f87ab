#include "cluster/rank/stage_loop.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "cluster/timing.h"
#include "cluster/wire/frame.h"

namespace tandem::cluster {
namespace {

Frame failure_frame(const RankPlace& place, std::uint64_t number, Error error) {
  Frame frame;
  frame.tick.epoch = place.epoch;
  frame.tick.number = number;
  frame.failure = StageFailure{place.rank, std::move(error)};
  return frame;
}

Frame compute(Frame in, stage::Stage& stage, const RankPlace& place, ProgressBoard& board) {
  board.begin(in.tick.number, cost::load_of(in.tick), Clock::now(),
              [&stage] { return stage.progress(); });
  auto output = stage.run(in.tick, in.hidden);
  const std::uint64_t held = stage.memory_bytes();
  board.end(Clock::now(), held - std::min(held, stage.info().weight_bytes));
  if (!output) return failure_frame(place, in.tick.number, output.error());
  Frame out;
  if (output->result) {
    out.tick.epoch = in.tick.epoch;
    out.tick.number = in.tick.number;
    out.result = std::move(output->result);
  } else {
    out.tick = std::move(in.tick);
    for (stage::Refusal& refusal : output->refusals) {
      out.tick.entries[refusal.entry].refused = std::move(refusal.error);
    }
    out.hidden = std::move(*output->hidden);
  }
  return out;
}

// The frame to pass on; nullopt for one of another epoch.
std::optional<EncodedFrame> handle(std::string bytes, stage::Stage& stage, const RankPlace& place,
                                   ProgressBoard& board) {
  auto in = decode(std::move(bytes));
  if (!in) {
    return encode(failure_frame(
        place, 0, {ErrorCode::kInternal, "received a bad frame: " + in.error().message}));
  }
  if (in->tick.epoch != place.epoch) return std::nullopt;
  if (in->failure) return encode(*in);
  if (in->result) {
    return encode(
        failure_frame(place, in->tick.number,
                      {ErrorCode::kInternal, "received a result, which is the gateway's"}));
  }
  return encode(compute(std::move(*in), stage, place, board));
}

}  // namespace

Error run_stage(Transport& transport, stage::Stage& stage, const RankPlace& place,
                ProgressBoard& board) {
  while (true) {
    board.wait(Clock::now());
    auto bytes = transport.receive(after(timing::kReceivePoll));
    if (!bytes && bytes.error().code == ErrorCode::kDeadlineExceeded) continue;
    if (!bytes) return bytes.error();
    auto out = handle(std::move(*bytes), stage, place, board);
    if (!out) continue;
    const std::uint64_t size = out->size();
    if (auto sent = transport.send(std::move(*out), after(timing::kSend)); !sent) {
      return sent.error();
    }
    board.sent(size);
  }
}

}  // namespace tandem::cluster
