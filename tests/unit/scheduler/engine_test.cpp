#include "scheduler/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "scheduler/tick_plan.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Engine, AnswersOnePrompt) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const auto id = engine.add(request_of({1, 2, 3}, 5));
  ASSERT_TRUE(id.ok());
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*id).ids, expected({1, 2, 3}, 5));
  EXPECT_EQ(outcomes.at(*id).finish, FinishReason::kLength);
  EXPECT_EQ(outcomes.at(*id).prompt_done, 3U);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Engine, AnEventSaysWhenItsStepWasSubmitted) {
  FakePipeline pipeline(1);
  Clock::time_point now{std::chrono::seconds(10)};
  EngineOptions options;
  options.now = [&] { return now; };
  Engine engine(pipeline, options);
  ASSERT_TRUE(engine.add(request_of({1, 2, 3}, 2)).ok());
  for (const int second : {11, 12}) {
    now = Clock::time_point(std::chrono::seconds(second));
    auto events = engine.step(soon());
    ASSERT_TRUE(events.ok() && events->size() == 1);
    EXPECT_EQ(events->front().submitted, now);
  }
}

TEST(Engine, IdleStepIsEmpty) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  EXPECT_FALSE(engine.busy());
  auto events = engine.step(soon());
  ASSERT_TRUE(events.ok());
  EXPECT_TRUE(events->empty());
}

TEST(Engine, TheStoppingIdIsReportedThenNothing) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const auto answer = expected({7}, 20);
  Request request = request_of({7}, 20);
  request.stop_ids = {answer[3]};
  const auto id = engine.add(request);
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*id).ids, expected({7}, 20, request.stop_ids));
  EXPECT_EQ(outcomes.at(*id).finish, FinishReason::kStop);
}

TEST(Engine, StopIdsMayComeInAnyOrder) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const auto answer = expected({7}, 20);
  Request request = request_of({7}, 20);
  request.stop_ids = {999999, answer[3], 0};
  std::vector<std::int32_t> sorted = request.stop_ids;
  std::sort(sorted.begin(), sorted.end());
  const auto id = engine.add(request);
  EXPECT_EQ(run_all(engine).at(*id).ids, expected({7}, 20, sorted));
}

TEST(Engine, ATickNeverHasMoreRowsThanAFrameHasRoomFor) {
  FakePipeline pipeline(1);
  pipeline.info().hidden_size = 1 << 24;  // 64 MiB a row: a frame has room for 15
  Engine engine(pipeline, {.mixed_rows = 100});
  const auto decodes = engine.add(request_of({1}, 60));
  ASSERT_TRUE(engine.step(soon()).ok());
  const auto late = engine.add(request_of(std::vector<std::int32_t>(100, 3), 2));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*late).prompt_done, 100U);
  EXPECT_EQ(outcomes.at(*decodes).ids.size(), 59U);
  std::size_t largest = 0;
  for (const auto& shape : pipeline.shapes()) {
    largest = std::max(largest, std::accumulate(shape.begin(), shape.end(), std::size_t{0}));
  }
  EXPECT_EQ(largest, tick_rows_max(4ULL << 24));
}

using Tokens = std::vector<TokenResult>;

struct BadAnswer {
  const char* expects;
  void (*spoil)(Tokens&);
};

void expect_death(const std::function<void(TickResult&)>& spoil, const std::string& expects) {
  FakePipeline pipeline(1);
  pipeline.spoil_answers(spoil);
  Engine engine(pipeline, {});
  Request request = request_of({5, 6, 7, 8}, 2);
  request.score = true;
  request.top_logprobs = 2;
  ASSERT_TRUE(engine.add(request).ok());
  const auto events = engine.step(soon());
  ASSERT_FALSE(events.ok()) << expects;
  EXPECT_EQ(events.error().code, ErrorCode::kInternal);
  EXPECT_THAT(events.error().message, HasSubstr(expects));
  EXPECT_THAT(events.error().message, HasSubstr("tick 1"));
}

TEST(Engine, AWrongAnswerOfTheLastStageEndsThePipelineAndNamesTheTick) {
  const BadAnswer cases[] = {
      {"scored token 8 at position 2", [](Tokens& t) { std::swap(t[1], t[2]); }},
      {"gave 3 tokens for sequence 1", [](Tokens& t) { t.pop_back(); }},
      {"gave 5 tokens for sequence 1", [](Tokens& t) { t.push_back(t[0]); }},
      {"scored token 77 at position 2", [](Tokens& t) { t[1].id = 77; }},
      {"more candidates", [](Tokens& t) { t[1].top.resize(3); }},
      {"more candidates", [](Tokens& t) { t[3].top.resize(3); }},
      {"token 1000 outside", [](Tokens& t) { t[3].id = 1000; }},
  };
  for (const BadAnswer& bad : cases) {
    expect_death([&](TickResult& result) { bad.spoil(result.entries[0].tokens); }, bad.expects);
  }
  expect_death([](TickResult& r) { r.entries[0].sequence = 9; },
               "answered for sequence 9 where 1 was due");
  expect_death([](TickResult& r) { r.entries.clear(); }, "answered for 0 entries");
  expect_death([](TickResult& r) { r.entries[0].error = Error{}; }, "tokens and an error");
}

TEST(Engine, EndsWhereTheContextEnds) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {.context_max = 10});
  const auto id = engine.add(request_of({1, 2, 3, 4}, 100));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*id).ids.size(), 6U);
  EXPECT_EQ(outcomes.at(*id).finish, FinishReason::kLength);
  EXPECT_EQ(engine.context_max(), 10);
}

TEST(Engine, ScoresAPromptInChunks) {
  FakePipeline pipeline(3);
  Engine engine(pipeline, {.prefill_step_size = 4});
  Request request = request_of({5, 6, 7, 8, 9, 10, 11, 12, 13}, 0);
  request.score = true;
  const auto id = engine.add(request);
  const auto outcomes = run_all(engine);
  const Outcome& outcome = outcomes.at(*id);
  EXPECT_TRUE(outcome.ids.empty());
  ASSERT_EQ(outcome.scores.size(), 8U);
  for (std::size_t i = 0; i < outcome.scores.size(); ++i) {
    EXPECT_EQ(outcome.scores[i].position, i + 1);
    EXPECT_EQ(outcome.scores[i].token.id, request.prompt[i + 1]);
  }
  EXPECT_EQ(pipeline.shapes(), (std::vector<std::vector<std::size_t>>{{4}, {4}, {1}}));
}

TEST(Engine, PrefillChunksFillThePipeline) {
  FakePipeline pipeline(3);
  Engine engine(pipeline, {.prefill_step_size = 10});
  ASSERT_TRUE(engine.add(request_of(std::vector<std::int32_t>(100, 1), 2)).ok());
  ASSERT_TRUE(engine.step(soon()).ok());
  EXPECT_EQ(pipeline.ticks(), 4U);
  EXPECT_EQ(pipeline.in_flight(), 3U);
  run_all(engine);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Engine, DecodesAreSpreadOverMicroBatches) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  for (std::int32_t i = 1; i <= 6; ++i) ASSERT_TRUE(engine.add(request_of({i}, 50)).ok());
  run_all(engine);
  const auto& shapes = pipeline.shapes();
  for (std::size_t i = 10; i < 90; ++i) EXPECT_EQ(shapes[i].size(), 3U) << "tick " << i;
}

TEST(Engine, ALongPromptDoesNotStopAStream) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {.prefill_step_size = 2048, .mixed_rows = 16});
  const auto stream = engine.add(request_of({1}, 400));
  std::map<std::uint64_t, Outcome> outcomes;
  for (int i = 0; i < 4; ++i) collect(*engine.step(soon()), outcomes);
  const auto late = engine.add(request_of(std::vector<std::int32_t>(2000, 3), 1));
  const std::size_t before = outcomes[*stream].ids.size();
  std::size_t steps = 0;
  while (outcomes[*late].finish == FinishReason::kNone) {
    collect(*engine.step(soon()), outcomes);
    ++steps;
  }
  EXPECT_GE(outcomes[*stream].ids.size() - before, steps / 2 - 2);
  EXPECT_LE(steps, 2000U / 16 + 4);
}

TEST(Engine, CancelFreesOnceAndOthersGoOn) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {.prefill_step_size = 4});
  const auto gone = engine.add(request_of(std::vector<std::int32_t>(40, 2), 10));
  const auto stays = engine.add(request_of({9, 9}, 10));
  std::map<std::uint64_t, Outcome> outcomes;
  collect(*engine.step(soon()), outcomes);
  engine.cancel(*gone);
  engine.cancel(*gone);
  engine.cancel(12345);
  while (engine.busy()) collect(*engine.step(soon()), outcomes);
  EXPECT_EQ(outcomes[*gone].finish, FinishReason::kNone);
  EXPECT_EQ(outcomes.at(*stays).ids, expected({9, 9}, 10));
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Engine, IsBusyUntilTheTicksOfACancelledRequestAreCollected) {
  FakePipeline pipeline(3);
  Engine engine(pipeline, {.prefill_step_size = 4});
  const auto gone = engine.add(request_of(std::vector<std::int32_t>(40, 2), 10));
  ASSERT_TRUE(engine.step(soon()).ok());
  ASSERT_EQ(pipeline.in_flight(), 3U);
  engine.cancel(*gone);
  EXPECT_TRUE(engine.busy());
  EXPECT_TRUE(run_all(engine).empty());
  EXPECT_EQ(pipeline.in_flight(), 0U);
  EXPECT_EQ(pipeline.ticks(), 4U);
  const auto next = engine.add(request_of({9, 9}, 3));
  EXPECT_EQ(run_all(engine).at(*next).ids, expected({9, 9}, 3));
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Engine, CancelOfAWaitingRequestNeverReachesAStage) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {.sequences_max = 1});
  const auto first = engine.add(request_of({1}, 3));
  const auto second = engine.add(request_of({2}, 3));
  ASSERT_TRUE(engine.step(soon()).ok());
  engine.cancel(*second);
  run_all(engine);
  EXPECT_FALSE(engine.busy());
  EXPECT_EQ(pipeline.live_max(), 1U);
  EXPECT_EQ(engine.stats().ticks, 3U);
  EXPECT_EQ(*second, *first + 1);
}

TEST(Engine, ADeadPipelineStaysDead) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  pipeline.die_at(1, {ErrorCode::kUnavailable, "rank 1 (local) died: killed by signal 9"});
  ASSERT_TRUE(engine.add(request_of({1, 2}, 9)).ok());
  for (int i = 0; i < 2; ++i) {
    const auto events = engine.step(soon());
    ASSERT_FALSE(events.ok());
    EXPECT_EQ(events.error().message, "rank 1 (local) died: killed by signal 9");
  }
}

TEST(Engine, KvMemoryBoundsTheSequencesThatRunTogether) {
  FakePipeline pipeline(1);
  pipeline.kv_pages(3);
  Engine engine(pipeline, {});
  for (std::int32_t i = 1; i <= 9; ++i) {
    ASSERT_TRUE(engine.add(request_of(std::vector<std::int32_t>(40, i), 20)).ok());
  }
  std::uint64_t running = 0;
  std::map<std::uint64_t, Outcome> outcomes;
  while (engine.busy()) {
    collect(*engine.step(soon()), outcomes);
    running = std::max(running, engine.stats().running);
  }
  EXPECT_EQ(outcomes.size(), 9U);
  for (const auto& [id, outcome] : outcomes) EXPECT_EQ(outcome.ids.size(), 20U);
  EXPECT_EQ(running, 3U);
  EXPECT_EQ(engine.stats().preemptions, 0U);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
  const auto too_long = engine.add(request_of(std::vector<std::int32_t>(200, 1), 1));
  ASSERT_FALSE(too_long.ok());
  EXPECT_EQ(too_long.error().code, ErrorCode::kInvalidArgument);
}

TEST(Engine, ASequenceEndsWhereTheKvMemoryEnds) {
  FakePipeline pipeline(1);
  pipeline.kv_pages(2);
  Engine engine(pipeline, {});
  EXPECT_EQ(engine.context_max(), 128);
  const auto id = engine.add(request_of(std::vector<std::int32_t>(100, 1), 500));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*id).ids, expected(std::vector<std::int32_t>(100, 1), 28));
  EXPECT_EQ(outcomes.at(*id).finish, FinishReason::kLength);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

}  // namespace
}  // namespace tandem::scheduler
