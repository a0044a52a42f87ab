#include "cluster/rank/stage_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cluster/timing.h"
#include "cluster/wire/frame.h"

namespace tandem::cluster {
namespace {

// Gives the frames it was made with, then breaks; keeps what was sent.
class ScriptedTransport final : public Transport {
 public:
  explicit ScriptedTransport(std::vector<std::string> frames)
      : frames_(frames.begin(), frames.end()) {}
  Result<std::string> receive(Deadline /*deadline*/) override {
    if (++calls_ % 2 == 0) return Error{ErrorCode::kDeadlineExceeded, "idle"};
    if (frames_.empty()) return Error{ErrorCode::kUnavailable, "the gateway is gone"};
    std::string frame = std::move(frames_.front());
    frames_.pop_front();
    return frame;
  }
  Status send(EncodedFrame frame, Deadline /*deadline*/) override {
    sent.push_back(std::move(frame));
    return {};
  }
  Status drain(Deadline /*deadline*/) override { return {}; }
  void close() override {}

  std::vector<std::string> sent;

 private:
  std::deque<std::string> frames_;
  int calls_ = 0;
};

class ScriptedStage final : public stage::Stage {
 public:
  using Run = std::function<Result<stage::StageOutput>(const Tick&, const stage::Hidden&)>;
  explicit ScriptedStage(Run run) : run_(std::move(run)) {}
  const StageInfo& info() const override { return info_; }
  std::uint64_t memory_bytes() const override { return 0; }
  Result<stage::StageOutput> run(const Tick& tick, const stage::Hidden& in) override {
    ++runs;
    return run_(tick, in);
  }
  int runs = 0;

 private:
  Run run_;
  StageInfo info_;
};

constexpr std::uint64_t kEpoch = 77;

Frame tick_frame(std::uint64_t number, std::uint64_t epoch = kEpoch) {
  Frame frame;
  frame.tick.epoch = epoch;
  frame.tick.number = number;
  TickEntry entry;
  entry.sequence = 5;
  entry.tokens = {1, 2};
  frame.tick.entries.push_back(entry);
  return frame;
}

stage::Hidden hidden_of(float value) {
  const float values[2] = {value, value + 1};
  const auto bytes = std::as_bytes(std::span(values));
  return {DType::kF32, 2, 1, SharedBytes({bytes.begin(), bytes.end()})};
}

struct Outcome {
  std::vector<Frame> sent;
  Error end;
  int runs = 0;
};

Outcome run_loop(std::vector<std::string> frames, ScriptedStage::Run run) {
  ScriptedTransport transport(std::move(frames));
  ScriptedStage stage(std::move(run));
  ProgressBoard board;
  Outcome outcome;
  outcome.end = run_stage(transport, stage, {2, kEpoch}, board);
  outcome.runs = stage.runs;
  for (const std::string& bytes : transport.sent) {
    auto frame = decode(bytes);
    EXPECT_TRUE(frame.ok()) << frame.error().message;
    if (frame) outcome.sent.push_back(std::move(*frame));
  }
  return outcome;
}

Result<stage::StageOutput> never(const Tick& /*tick*/, const stage::Hidden& /*in*/) {
  ADD_FAILURE() << "the stage must not run";
  return Error{};
}

TEST(StageLoop, PassesTheTickOnWithItsHiddenStates) {
  const auto outcome = run_loop({encode(tick_frame(1))}, [](const Tick&, const stage::Hidden&) {
    return Result<stage::StageOutput>(stage::StageOutput{hidden_of(3), std::nullopt});
  });
  ASSERT_EQ(outcome.sent.size(), 1);
  EXPECT_EQ(outcome.sent[0].tick.number, 1);
  EXPECT_EQ(outcome.sent[0].tick.entries.size(), 1);
  EXPECT_EQ(outcome.sent[0].hidden.bytes, hidden_of(3).bytes);
  EXPECT_EQ(outcome.end.code, ErrorCode::kUnavailable);
  EXPECT_EQ(outcome.end.message, "the gateway is gone");
}

TEST(StageLoop, AnEntryThatTheStageRefusedGoesOnAsRefused) {
  const auto outcome = run_loop({encode(tick_frame(1))}, [](const Tick&, const stage::Hidden&) {
    return Result<stage::StageOutput>(stage::StageOutput{
        stage::Hidden{DType::kF32, 0, 1, {}}, std::nullopt, {{0, invalid("bad position")}}});
  });
  ASSERT_EQ(outcome.sent.size(), 1);
  ASSERT_TRUE(outcome.sent[0].tick.entries.at(0).refused.has_value());
  EXPECT_EQ(outcome.sent[0].tick.entries[0].refused->code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(outcome.sent[0].tick.entries[0].refused->message, "bad position");
  EXPECT_FALSE(outcome.sent[0].failure.has_value());
}

TEST(StageLoop, TheLastStageSendsTheResultAlone) {
  const auto outcome =
      run_loop({encode(tick_frame(4))}, [](const Tick& tick, const stage::Hidden&) {
        TickResult result{tick.epoch, tick.number, {{.sequence = 5, .tokens = {{42, -0.5F, {}}}}}};
        return Result<stage::StageOutput>(stage::StageOutput{std::nullopt, result});
      });
  ASSERT_EQ(outcome.sent.size(), 1);
  ASSERT_TRUE(outcome.sent[0].result.has_value());
  EXPECT_EQ(outcome.sent[0].result->entries[0].tokens[0].id, 42);
  EXPECT_TRUE(outcome.sent[0].tick.entries.empty());
}

TEST(StageLoop, AStagesErrorTravelsOnWithItsRankAndTheLoopGoesOn) {
  int calls = 0;
  const auto outcome = run_loop(
      {encode(tick_frame(1)), encode(tick_frame(2))}, [&](const Tick&, const stage::Hidden&) {
        if (++calls == 1) return Result<stage::StageOutput>(invalid("bad position"));
        return Result<stage::StageOutput>(stage::StageOutput{hidden_of(1), std::nullopt});
      });
  ASSERT_EQ(outcome.sent.size(), 2);
  ASSERT_TRUE(outcome.sent[0].failure.has_value());
  EXPECT_EQ(outcome.sent[0].failure->rank, 2);
  EXPECT_EQ(outcome.sent[0].failure->error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(outcome.sent[0].failure->error.message, "bad position");
  EXPECT_EQ(outcome.sent[0].tick.number, 1);
  EXPECT_FALSE(outcome.sent[1].failure.has_value());
}

TEST(StageLoop, AFailureOfARankBeforePassesUntouched) {
  Frame failed;
  failed.tick.epoch = kEpoch;
  failed.tick.number = 9;
  failed.failure = StageFailure{0, invalid("first rank's")};
  const auto outcome = run_loop({encode(failed)}, never);
  ASSERT_EQ(outcome.sent.size(), 1);
  EXPECT_EQ(outcome.sent[0].failure->rank, 0);
  EXPECT_EQ(outcome.runs, 0);
}

TEST(StageLoop, FramesOfAnotherEpochAreDropped) {
  const auto outcome = run_loop({encode(tick_frame(1, kEpoch - 1))}, never);
  EXPECT_TRUE(outcome.sent.empty());
  EXPECT_EQ(outcome.runs, 0);
}

TEST(StageLoop, GarbageAndMisplacedResultsBecomeFailures) {
  Frame result;
  result.tick.epoch = kEpoch;
  result.result = TickResult{kEpoch, 1, {}};
  const auto outcome = run_loop({"garbage", encode(result)}, never);
  ASSERT_EQ(outcome.sent.size(), 2);
  for (const Frame& frame : outcome.sent) {
    ASSERT_TRUE(frame.failure.has_value());
    EXPECT_EQ(frame.failure->rank, 2);
    EXPECT_EQ(frame.failure->error.code, ErrorCode::kInternal);
  }
}

// A stage whose first tick never gets on until it is let go.
class HangingStage final : public stage::Stage {
 public:
  const StageInfo& info() const override { return info_; }
  std::uint64_t memory_bytes() const override { return 0; }
  std::optional<std::uint64_t> progress() const override { return 3; }
  Result<stage::StageOutput> run(const Tick& /*tick*/, const stage::Hidden& /*in*/) override {
    inside.set_value();
    let_go.get_future().wait();
    return stage::StageOutput{hidden_of(1), std::nullopt};
  }
  std::promise<void> inside;
  std::promise<void> let_go;

 private:
  StageInfo info_;
};

TEST(StageLoop, AStageThatHangsIsReportedByTheBoardAndOneThatReturnsIsNot) {
  ScriptedTransport transport({encode(tick_frame(4))});
  HangingStage stage;
  ProgressBoard board;
  board.set_state(v1::WORKER_STATE_RUNNING);
  std::thread computing([&] { run_stage(transport, stage, {1, kEpoch}, board); });
  stage.inside.get_future().wait();
  Clock::time_point now = Clock::now();
  auto report = board.report(now);
  for (int beat = 0; beat < 10; ++beat) report = board.report(now += timing::kHeartbeat);
  EXPECT_EQ(report.state(), v1::WORKER_STATE_FAILED);
  EXPECT_THAT(report.error().message(), testing::HasSubstr("hangs in tick 4"));
  stage.let_go.set_value();
  computing.join();
  EXPECT_EQ(board.report(now + std::chrono::hours(1)).state(), v1::WORKER_STATE_RUNNING);
}

}  // namespace
}  // namespace tandem::cluster
