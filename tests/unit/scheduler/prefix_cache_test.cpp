// What is computed once serves every prompt that begins alike.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::IsEmpty;
using Ids = std::vector<std::int32_t>;

Ids joined(Ids first, const Ids& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// Different tokens, the same for the same seed.
Ids tokens(std::size_t count, std::int32_t seed) {
  Ids ids(count);
  for (std::size_t i = 0; i < count; ++i) {
    ids[i] = (seed * 131 + static_cast<std::int32_t>(i) * 17) % 1000;
  }
  return ids;
}

std::size_t rows_from(const FakePipeline& pipeline, std::size_t first) {
  std::size_t rows = 0;
  for (std::size_t i = first; i < pipeline.shapes().size(); ++i) {
    rows = std::accumulate(pipeline.shapes()[i].begin(), pipeline.shapes()[i].end(), rows);
  }
  return rows;
}

TEST(PrefixCache, ASecondTurnComputesOnlyItsNewTokens) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  const Ids first = tokens(100, 3);
  ASSERT_TRUE(engine.add(request_of(first, 5)).ok());
  run_all(engine);
  const Ids second = joined(joined(first, expected(first, 5)), {8, 9});
  const std::size_t before = pipeline.ticks();
  const auto two = engine.add(request_of(second, 4));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*two).ids, expected(second, 4));
  // The fifth token of the first answer was drawn and never computed.
  EXPECT_EQ(pipeline.shapes()[before], std::vector<std::size_t>{3});
  EXPECT_EQ(outcomes.at(*two).cached, 104U);
  EXPECT_EQ(pipeline.live(), 1U) << "the second turn has all of the first";
  EXPECT_EQ(engine.stats().prefix_hits, 1U);
  EXPECT_EQ(engine.stats().prefix_tokens, 104U);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(PrefixCache, OneTokenOfAPromptIsAlwaysComputed) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const Ids prompt = tokens(70, 1);
  for (int turn = 0; turn < 3; ++turn) {
    const auto id = engine.add(request_of(prompt, 3));
    const auto outcomes = run_all(engine);
    EXPECT_EQ(outcomes.at(*id).ids, expected(prompt, 3));
    EXPECT_EQ(outcomes.at(*id).cached, turn == 0 ? 0U : 69U);
    EXPECT_EQ(outcomes.at(*id).prompt_done, 70U);
  }
  EXPECT_EQ(engine.stats().kv_tokens_idle, 128U) << "the same answers again are not kept twice";
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(PrefixCache, SeveralAnswersToOnePromptComputeItOnce) {
  for (const int stages : {1, 3}) {
    FakePipeline pipeline(stages);
    Engine engine(pipeline, {.prefill_step_size = 64});
    const Ids prompt = tokens(300, 2);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(engine.add(request_of(prompt, 2)).ok());
    const auto outcomes = run_all(engine);
    for (const auto& [id, outcome] : outcomes) EXPECT_EQ(outcome.ids, expected(prompt, 2));
    EXPECT_EQ(outcomes.size(), 4U);
    EXPECT_EQ(rows_from(pipeline, 0), 300U + 3 + 4) << stages;
    EXPECT_THAT(pipeline.broken(), IsEmpty());
  }
}

TEST(PrefixCache, ASystemPromptIsSharedByWhoRuns) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const Ids system = tokens(640, 2);
  for (std::int32_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(engine.add(request_of(joined(system, {i, i, i}), 100)).ok());
  }
  std::uint64_t used = 0;
  while (engine.busy()) {
    ASSERT_TRUE(engine.step(soon()).ok());
    used = std::max(used, engine.stats().kv_tokens_used);
  }
  EXPECT_LE(used, 640U + 8 * 128);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(PrefixCache, NoOneWaitsForABeginningThatIsNotWorthIt) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  ASSERT_TRUE(engine.add(request_of(joined({1, 2, 3}, tokens(100, 1)), 1)).ok());
  ASSERT_TRUE(engine.add(request_of(joined({1, 2, 3}, tokens(100, 2)), 1)).ok());
  run_all(engine);
  EXPECT_EQ(pipeline.shapes()[0].size(), 2U);
}

TEST(PrefixCache, OtherSaltsComputeForThemselves) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  for (std::uint64_t salt = 1; salt <= 3; ++salt) {
    Request request = request_of(tokens(80, 5), 2);
    request.cache_salt = salt;
    const auto id = engine.add(request);
    EXPECT_EQ(run_all(engine).at(*id).cached, 0U);
  }
  EXPECT_EQ(engine.stats().prefix_hits, 0U);
}

TEST(PrefixCache, ACancelledRequestIsABeginningToo) {
  FakePipeline pipeline(3);
  Engine engine(pipeline, {.prefill_step_size = 10});
  const Ids prompt = tokens(45, 4);
  const auto stopped = engine.add(request_of(prompt, 50));
  ASSERT_TRUE(engine.step(soon()).ok());
  engine.cancel(*stopped);
  const auto again = engine.add(request_of(prompt, 3));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*again).ids, expected(prompt, 3));
  EXPECT_EQ(outcomes.at(*again).cached, 40U);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(PrefixCache, ScoresAreComputedWhateverThereIs) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  ASSERT_TRUE(engine.add(request_of(tokens(200, 4), 2)).ok());
  run_all(engine);
  Request request = request_of(tokens(200, 4), 0);
  request.score = true;
  const auto scored = engine.add(request);
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*scored).scores.size(), 199U);
  EXPECT_EQ(outcomes.at(*scored).cached, 0U);
}

TEST(PrefixCache, TheLongestUnusedGivesWayFromItsEnd) {
  FakePipeline pipeline(1);
  pipeline.kv_pages(10);
  Engine engine(pipeline, {});
  ASSERT_TRUE(engine.add(request_of(tokens(256, 1), 1)).ok());  // 4 pages
  run_all(engine);
  ASSERT_TRUE(engine.add(request_of(tokens(256, 2), 1)).ok());  // 4 pages
  run_all(engine);
  ASSERT_TRUE(engine.add(request_of(tokens(256, 3), 1)).ok());  // takes 2 of the first's
  run_all(engine);
  const auto second = engine.add(request_of(joined(tokens(256, 2), {1}), 1));
  EXPECT_EQ(run_all(engine).at(*second).cached, 256U);
  const auto first = engine.add(request_of(joined(tokens(256, 1), {1}), 1));
  EXPECT_EQ(run_all(engine).at(*first).cached, 64U) << "a page went to the turn before";
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(PrefixCache, WithoutPagesABeginningIsHandedOnOrCountsTwice) {
  FakePipeline pipeline(1);
  pipeline.info().pages_shared = false;
  Engine engine(pipeline, {});
  const Ids prompt = tokens(640, 2);
  for (std::int32_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(engine.add(request_of(joined(prompt, {i, i, i}), 100)).ok());
  }
  std::uint64_t used = 0;
  while (engine.busy()) {
    ASSERT_TRUE(engine.step(soon()).ok());
    used = std::max(used, engine.stats().kv_tokens_used);
  }
  EXPECT_EQ(used, 4 * 768U);
  EXPECT_EQ(engine.stats().prefix_tokens, 3 * 640U);
  const auto next = engine.add(request_of(joined(prompt, {0, 0, 0, 7}), 1));
  EXPECT_GE(run_all(engine).at(*next).cached, 643U);
  EXPECT_LE(engine.stats().kv_tokens_idle, 4 * 768U);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(WindowedPrefixes, ALongSequenceHoldsWhatItsWindowsSee) {
  FakePipeline pipeline(2);
  pipeline.windows({0, 100, 100, 100});
  Engine engine(pipeline, {.prefill_step_size = 256});
  const Ids prompt = tokens(2000, 3);
  const auto id = engine.add(request_of(prompt, 200));
  std::uint64_t used = 0;
  std::map<std::uint64_t, Outcome> outcomes;
  while (engine.busy()) {
    const auto events = engine.step(soon());
    ASSERT_TRUE(events.ok());
    collect(*events, outcomes);
    if (outcomes[*id].ids.size() == 150) used = engine.stats().kv_tokens_used;
  }
  EXPECT_EQ(outcomes[*id].ids, expected(prompt, 200));
  // 34 pages of one layer, at most 4 of three others.
  EXPECT_GT(used, 0U);
  EXPECT_LE(used, (34U + 3 * 4 + 3) / 4 * 64);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(WindowedPrefixes, TheEndOfAPromptIsKeptForAnotherAnswer) {
  FakePipeline pipeline(1);
  pipeline.windows({0, 100});
  Engine engine(pipeline, {});
  const Ids prompt = tokens(500, 3);
  ASSERT_TRUE(engine.add(request_of(prompt, 300)).ok());
  run_all(engine);
  const auto two = engine.add(request_of(joined(prompt, tokens(50, 9)), 3));
  EXPECT_EQ(run_all(engine).at(*two).cached, 500U);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(WindowedPrefixes, ASystemPromptIsKnownOnceASecondPromptPartsFromIt) {
  FakePipeline pipeline(1);
  pipeline.windows({0, 100});
  Engine engine(pipeline, {});
  const Ids system = tokens(700, 2);
  std::vector<std::uint32_t> cached;
  for (std::int32_t i = 1; i <= 4; ++i) {
    const Ids prompt = joined(system, tokens(400, 10 + i));
    const auto id = engine.add(request_of(prompt, 5));
    const auto outcomes = run_all(engine);
    EXPECT_EQ(outcomes.at(*id).ids, expected(prompt, 5));
    cached.push_back(outcomes.at(*id).cached);
  }
  EXPECT_EQ(cached, (std::vector<std::uint32_t>{0, 0, 700, 700}));
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(WindowedPrefixes, WhoComesTogetherSharesWhatIsComputedOnce) {
  for (const std::uint64_t prefix_bytes : {std::uint64_t{0}, std::uint64_t{1} << 40}) {
    FakePipeline pipeline(1);
    pipeline.windows({0, 100});
    Engine engine(pipeline, {.prefix_bytes = prefix_bytes});
    const Ids system = tokens(700, 2);
    for (std::int32_t i = 1; i <= 4; ++i) {
      ASSERT_TRUE(engine.add(request_of(joined(system, tokens(400, 10 + i)), 1)).ok());
    }
    run_all(engine);
    EXPECT_EQ(rows_from(pipeline, 0), 700U + 4 * 400);
    EXPECT_THAT(pipeline.broken(), IsEmpty());
  }
}

TEST(RecurrentPrefixes, AChatGoesOnFromTheEndOfItsLastPrompt) {
  for (const bool sharing : {true, false}) {
    FakePipeline pipeline(2);
    pipeline.windows({0, FakePipeline::kRecurrent, FakePipeline::kRecurrent});
    pipeline.info().pages_shared = sharing;
    Engine engine(pipeline, {});
    Ids prompt = tokens(500, 3);
    std::vector<std::uint32_t> cached;
    for (std::int32_t turn = 0; turn < 4; ++turn) {
      const auto id = engine.add(request_of(prompt, 30));
      const auto outcomes = run_all(engine);
      EXPECT_EQ(outcomes.at(*id).ids, expected(prompt, 30));
      cached.push_back(outcomes.at(*id).cached);
      prompt.resize(prompt.size() - 3);  // as a template does that lets thoughts go
      prompt = joined(prompt, tokens(100, 20 + turn));
    }
    EXPECT_EQ(cached, (std::vector<std::uint32_t>{0, 448, 576, 640})) << sharing;
    EXPECT_THAT(pipeline.broken(), IsEmpty());
  }
}

TEST(RecurrentPrefixes, TheSamePromptAndOneThatGoesOnFromAnAnswerAreFound) {
  FakePipeline pipeline(1);
  pipeline.windows({0, FakePipeline::kRecurrent});
  Engine engine(pipeline, {});
  const Ids prompt = tokens(200, 3);
  ASSERT_TRUE(engine.add(request_of(prompt, 20)).ok());
  run_all(engine);
  const auto again = engine.add(request_of(prompt, 20));
  EXPECT_EQ(run_all(engine).at(*again).cached, 192U);
  const auto more = engine.add(request_of(joined(joined(prompt, expected(prompt, 20)), {7, 8}), 3));
  EXPECT_EQ(run_all(engine).at(*more).cached, 219U) << "the last token drawn was not computed";
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(PrefixCache, ItsLimitHolds) {
  for (const std::uint64_t limit : {0U, 64U, 300U}) {
    FakePipeline pipeline(limit == 300 ? 3 : 1);
    Engine engine(pipeline, {.prefix_bytes = limit * pipeline.token_bytes()});
    for (std::int32_t i = 1; i <= 10; ++i) {
      ASSERT_TRUE(engine.add(request_of(tokens(150, i), 3)).ok());
    }
    run_all(engine);
    EXPECT_LE(engine.stats().kv_tokens_idle, limit);
    EXPECT_EQ(engine.stats().kv_tokens_used, 0U);
    ASSERT_TRUE(engine.add(request_of({1}, 1)).ok());  // its tick carries the last operations
    run_all(engine);
    EXPECT_LE(*pipeline.pages_held(), 1 + limit / 64);
  }
}

TEST(PrefixCache, HoldsNoMoreSequencesThanItsLimit) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  for (std::int32_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(engine.add(request_of({i, i}, 1)).ok());
    run_all(engine);
  }
  EXPECT_LE(pipeline.live(), 513U);
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

}  // namespace
}  // namespace tandem::scheduler
