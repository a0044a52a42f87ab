// When KV runs out, who came last computes again, to the same tokens; and what a refused tick does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::IsEmpty;
using Ids = std::vector<std::int32_t>;

TEST(Preemption, TheLastInOrderComputesAgain) {
  for (const int stages : {1, 2, 4}) {
    FakePipeline pipeline(stages);
    pipeline.kv_pages(6);
    Engine engine(pipeline, {});
    std::map<std::uint64_t, Ids> prompts;
    for (std::int32_t i = 1; i <= 4; ++i) {
      const Ids prompt(60, i);
      prompts[*engine.add(request_of(prompt, 200))] = prompt;
    }
    std::vector<std::uint64_t> finished;
    std::map<std::uint64_t, Outcome> outcomes;
    while (engine.busy()) {
      const auto events = engine.step(soon());
      ASSERT_TRUE(events.ok()) << events.error().message;
      collect(*events, outcomes);
      for (const Event& event : *events) {
        if (event.finish != FinishReason::kNone) finished.push_back(event.sequence);
      }
    }
    for (const auto& [id, prompt] : prompts) EXPECT_EQ(outcomes[id].ids, expected(prompt, 200));
    EXPECT_EQ(finished.front(), prompts.begin()->first) << "the oldest is served first";
    EXPECT_GT(engine.stats().preemptions, 0U);
    EXPECT_EQ(engine.stats().generated_tokens, 800U);
    EXPECT_THAT(pipeline.broken(), IsEmpty());
  }
}

TEST(Preemption, LosesOnlyThePagesThatOthersNeed) {
  FakePipeline pipeline(1);
  pipeline.kv_pages(8);
  Engine engine(pipeline, {});
  const auto old = engine.add(request_of(Ids(60, 1), 150));
  const auto young = engine.add(request_of(Ids(250, 2), 100));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*old).ids.size(), 150U);
  EXPECT_EQ(outcomes.at(*young).ids, expected(Ids(250, 2), 100));
  const EngineStats stats = engine.stats();
  EXPECT_GT(stats.preemptions, 0U);
  EXPECT_GT(stats.prefix_tokens, 128U) << "the beginning was still there";
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Preemption, AMoreUrgentRequestTakesTheMemory) {
  FakePipeline pipeline(1);
  pipeline.kv_pages(4);
  Engine engine(pipeline, {});
  const auto patient = engine.add(request_of(Ids(190, 1), 50));
  std::map<std::uint64_t, Outcome> outcomes;
  for (int i = 0; i < 5; ++i) collect(*engine.step(soon()), outcomes);
  Request request = request_of(Ids(120, 2), 5);
  request.priority = -1;
  const auto urgent = engine.add(request);
  while (outcomes[*urgent].finish == FinishReason::kNone) {
    collect(*engine.step(soon()), outcomes);
    ASSERT_LT(outcomes[*patient].ids.size(), 10U);
  }
  while (engine.busy()) collect(*engine.step(soon()), outcomes);
  EXPECT_EQ(outcomes[*patient].ids, expected(Ids(190, 1), 50));
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Preemption, PriorityGoesBeforeArrival) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {.sequences_max = 1});
  std::vector<std::uint64_t> ids;
  for (const int priority : {0, 0, -5, -1, -5}) {
    Request request = request_of({static_cast<std::int32_t>(ids.size())}, 3);
    request.priority = priority;
    ids.push_back(*engine.add(request));
  }
  std::vector<std::uint64_t> finished;
  while (engine.busy()) {
    const auto events = engine.step(soon());
    ASSERT_TRUE(events.ok());
    for (const Event& event : *events) {
      if (event.finish != FinishReason::kNone) finished.push_back(event.sequence);
    }
  }
  EXPECT_EQ(finished, (std::vector{ids[2], ids[4], ids[3], ids[0], ids[1]}));
}

TEST(Preemption, ScoresAreReportedOnce) {
  FakePipeline pipeline(1);
  pipeline.kv_pages(5);
  Engine engine(pipeline, {.prefill_step_size = 32, .mixed_rows = 8});
  const auto old = engine.add(request_of(Ids(60, 1), 200));
  Request request = request_of(Ids(130, 2), 20);
  request.score = true;
  const auto scored = engine.add(request);
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*old).ids.size(), 200U);
  EXPECT_EQ(outcomes.at(*scored).ids, expected(Ids(130, 2), 20));
  ASSERT_EQ(outcomes.at(*scored).scores.size(), 129U);
  for (std::uint32_t i = 0; i < 129; ++i) {
    EXPECT_EQ(outcomes.at(*scored).scores[i].position, i + 1);
  }
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

std::optional<FakePipeline::Refusal> no_page(int stage) {
  return FakePipeline::Refusal{stage, {ErrorCode::kResourceLimit, "rank 0 (local): no memory"}};
}

TEST(Refusal, ForWantOfMemoryIsTriedAgain) {
  for (const int stages : {1, 3}) {
    for (int stage = 0; stage < stages; ++stage) {
      FakePipeline pipeline(stages);
      Engine engine(pipeline, {});
      bool tight = false;
      pipeline.watch([&](const Tick& tick) -> std::optional<Error> {
        tight = tick.number % 50 == 3;
        return std::nullopt;
      });
      pipeline.refuse([&](const TickEntry&) { return tight ? no_page(stage) : std::nullopt; });
      std::map<std::uint64_t, Ids> prompts;
      for (std::int32_t i = 1; i <= 5; ++i) {
        const Ids prompt(static_cast<std::size_t>(30 * i), i);
        prompts[*engine.add(request_of(prompt, 30))] = prompt;
      }
      const auto outcomes = run_all(engine);
      for (const auto& [id, prompt] : prompts) {
        EXPECT_EQ(outcomes.at(id).ids, expected(prompt, 30)) << outcomes.at(id).error->message;
      }
    }
  }
}

/// One sequence of several is refused by some stage; the others notice nothing of it.
TEST(Refusal, EndsWhomItConcernsAndNothingOfOthersIsComputedAgain) {
  for (const ErrorCode code : {ErrorCode::kInvalidArgument, ErrorCode::kInternal}) {
    for (const int stages : {1, 3}) {
      for (int stage = 0; stage < stages; ++stage) {
        FakePipeline pipeline(stages);
        Engine engine(pipeline, {});
        const auto good = engine.add(request_of({1, 2}, 9));
        const auto bad = engine.add(request_of({666, 4, 5}, 9));
        const auto other = engine.add(request_of({5, 6}, 9));
        const std::string why = "layers [0, 3): the number of the beast";
        pipeline.refuse([&](const TickEntry& entry) -> std::optional<FakePipeline::Refusal> {
          if (entry.tokens.front() != 666) return std::nullopt;
          return FakePipeline::Refusal{stage, {code, why}};
        });
        const auto outcomes = run_all(engine);
        EXPECT_EQ(outcomes.at(*good).ids, expected({1, 2}, 9));
        EXPECT_EQ(outcomes.at(*other).ids, expected({5, 6}, 9));
        EXPECT_EQ(outcomes.at(*bad).finish, FinishReason::kError);
        EXPECT_EQ(outcomes.at(*bad).error->message, why);
        EXPECT_EQ(outcomes.at(*bad).error->code, code);
        EXPECT_EQ(engine.stats().prompt_tokens, 4U) << "each of the others' prompts once";
        EXPECT_THAT(pipeline.broken(), IsEmpty());
      }
    }
  }
}

/// In the middle of an answer, with later ticks of the same sequence on their way.
TEST(Refusal, OfARunningSequenceLeavesTheStagesAlike) {
  FakePipeline pipeline(4);
  Engine engine(pipeline, {.prefill_step_size = 16, .prefix_bytes = 0});
  const auto good = engine.add(request_of(Ids(90, 3), 20));
  const auto bad = engine.add(request_of(Ids(300, 4), 20));
  pipeline.refuse([](const TickEntry& entry) -> std::optional<FakePipeline::Refusal> {
    if (entry.tokens.front() != 4 || entry.position < 64) return std::nullopt;
    return FakePipeline::Refusal{2, invalid("no")};
  });
  auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*good).ids, expected(Ids(90, 3), 20));
  EXPECT_EQ(outcomes.at(*bad).finish, FinishReason::kError);
  ASSERT_TRUE(engine.add(request_of({1}, 1)).ok());
  run_all(engine);
  ASSERT_TRUE(pipeline.pages_held().has_value()) << "stages differ";
  EXPECT_LE(*pipeline.pages_held(), 1U);
}

TEST(Refusal, OfEverythingEndsEverythingAsAShortage) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  pipeline.refuse([](const TickEntry&) { return no_page(0); });
  for (std::int32_t i = 1; i <= 5; ++i) ASSERT_TRUE(engine.add(request_of({i}, 9)).ok());
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.size(), 5U);
  for (const auto& [id, outcome] : outcomes) {
    EXPECT_EQ(outcome.finish, FinishReason::kError);
    EXPECT_EQ(outcome.error->code, ErrorCode::kUnavailable);
  }
}

}  // namespace
}  // namespace tandem::scheduler
