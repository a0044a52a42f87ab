#include "scheduler/kept.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::IsEmpty;
using Ids = std::vector<std::int32_t>;

TEST(Kept, TheLongestCommonBeginningIsFound) {
  KeptSequences kept;
  kept.add({1, {5, 6, 7}, 64});
  kept.add({2, {5, 6, 8, 9}, 64});
  EXPECT_EQ(kept.best(Ids{5, 6, 8, 9, 10})->id, 2U);
  EXPECT_EQ(kept.best(Ids{5, 6, 8, 9, 10})->length, 4U);
  EXPECT_EQ(kept.best(Ids{5, 6, 7, 1})->id, 1U);
  EXPECT_EQ(kept.best(Ids{5, 6, 1})->id, 2U) << "of equal ones the newest";
  EXPECT_FALSE(kept.best(Ids{6, 7}).has_value());
  EXPECT_FALSE(kept.best(Ids{}).has_value());
}

TEST(Kept, OneTokenOfThePromptIsAlwaysComputed) {
  KeptSequences kept;
  kept.add({1, {5, 6, 7}, 64});
  EXPECT_EQ(kept.best(Ids{5, 6, 7})->length, 2U);
  EXPECT_FALSE(kept.best(Ids{5}).has_value());
}

TEST(Kept, EntriesLeaveOnce) {
  KeptSequences kept;
  kept.add({1, {5}, 64});
  kept.add({2, {6}, 64});
  EXPECT_EQ(kept.take(2)->tokens, Ids{6});
  EXPECT_FALSE(kept.take(2).has_value());
  EXPECT_EQ(kept.take_oldest()->id, 1U);
  EXPECT_FALSE(kept.take_oldest().has_value());
}

Ids joined(const Ids& first, const Ids& second) {
  Ids all = first;
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

Request kept_request(const Ids& prompt, int max_tokens) {
  Request request = request_of(prompt, max_tokens);
  request.keep = true;
  return request;
}

TEST(Engine, ASecondTurnComputesOnlyItsNewTokens) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  const Ids first(100, 3);
  const auto one = engine.add(kept_request(first, 5));
  run_all(engine);
  const Ids second = joined(joined(first, expected(first, 5)), {8, 9});
  const std::size_t before = pipeline.ticks();
  const auto two = engine.add(kept_request(second, 4));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*two).ids, expected(second, 4));
  // The fifth token of the first answer was drawn and never computed.
  EXPECT_EQ(pipeline.shapes()[before], std::vector<std::size_t>{3});
  EXPECT_EQ(pipeline.frees().at(*one), 1);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Engine, ACancelledTurnIsABeginningToo) {
  FakePipeline pipeline(3);
  Engine engine(pipeline, {.prefill_step_size = 10});
  const Ids prompt(35, 4);
  const auto stopped = engine.add(kept_request(prompt, 50));
  ASSERT_TRUE(engine.step(soon()).ok());
  engine.cancel(*stopped);
  const auto again = engine.add(kept_request(prompt, 3));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*again).ids, expected(prompt, 3));
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Engine, ScoresAreComputedWhateverIsKept) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const Ids prompt(20, 4);
  ASSERT_TRUE(engine.add(kept_request(prompt, 2)).ok());
  run_all(engine);
  Request request = request_of(prompt, 0);
  request.score = true;
  const auto scored = engine.add(request);
  EXPECT_EQ(run_all(engine).at(*scored).scores.size(), 19U);
}

TEST(Engine, KeptSequencesMakeRoomForLiveOnes) {
  FakePipeline pipeline(1);
  pipeline.info().kv_bytes_per_token = 1;
  pipeline.info().kv_bytes_max = 64 * 3;
  Engine engine(pipeline, {.kept_max = 100});
  for (std::int32_t i = 1; i <= 10; ++i) {
    ASSERT_TRUE(engine.add(kept_request(Ids(40, i), 10)).ok());
  }
  EXPECT_EQ(run_all(engine).size(), 10U);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
  EXPECT_LE(pipeline.live(), 3U);
}

}  // namespace
}  // namespace tandem::scheduler
