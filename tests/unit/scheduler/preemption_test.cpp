// When KV runs out, who came last computes again, to the same tokens; and what a refused tick does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
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
    EXPECT_EQ(outcomes.at(*scored).scores[i].sequence, *scored);
  }
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

std::optional<FakePipeline::Refusal> no_page() {
  return FakePipeline::Refusal{0, {ErrorCode::kResourceLimit, "rank 0 (local): no memory"}};
}

TEST(Refusal, IsTriedAgain) {
  for (const int stages : {1, 3}) {
    for (int stage = 0; stage < stages; ++stage) {
      FakePipeline pipeline(stages);
      Engine engine(pipeline, {});
      pipeline.refuse([&](const Tick& tick) {
        auto refusal = no_page();
        refusal->stage = stage;
        return tick.number % 7 == 3 ? refusal : std::nullopt;
      });
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

TEST(Refusal, EndsWhomItConcernsOnly) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const auto good = engine.add(request_of({1, 2}, 9));
  const auto bad = engine.add(request_of({666, 4}, 9));
  const auto other = engine.add(request_of({5, 6}, 9));
  pipeline.refuse([](const Tick& tick) -> std::optional<FakePipeline::Refusal> {
    const bool concerned =
        std::any_of(tick.entries.begin(), tick.entries.end(),
                    [](const TickEntry& entry) { return entry.tokens.front() == 666; });
    if (!concerned) return std::nullopt;
    return FakePipeline::Refusal{0, invalid("rank 0 (local): the number of the beast")};
  });
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*good).ids, expected({1, 2}, 9));
  EXPECT_EQ(outcomes.at(*other).ids, expected({5, 6}, 9));
  EXPECT_EQ(outcomes.at(*bad).finish, FinishReason::kError);
  EXPECT_EQ(outcomes.at(*bad).error->message, "rank 0 (local): the number of the beast");
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Refusal, OfEverythingEndsEverything) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  pipeline.refuse([](const Tick&) { return no_page(); });
  for (std::int32_t i = 1; i <= 5; ++i) ASSERT_TRUE(engine.add(request_of({i}, 9)).ok());
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.size(), 5U);
  for (const auto& [id, outcome] : outcomes) EXPECT_EQ(outcome.finish, FinishReason::kError);
}

}  // namespace
}  // namespace tandem::scheduler
