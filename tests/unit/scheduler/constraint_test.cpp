// Sequences that follow a constraint.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_constraint.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::IsEmpty;
using Ids = std::vector<std::int32_t>;

Request constrained(Ids prompt, int max_tokens, FakeRule rule) {
  Request request = request_of(std::move(prompt), max_tokens);
  request.constraint = std::make_shared<FakeConstraint>(rule);
  return request;
}

TEST(Constraint, EveryTokenIsAllowedTheFirstToo) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  const auto id = engine.add(constrained({1, 2, 3}, 30, {.phase = 1}));
  const auto free = engine.add(request_of({1, 2, 3}, 30));
  const auto outcomes = run_all(engine);
  const Ids& ids = outcomes.at(*id).ids;
  ASSERT_EQ(ids.size(), 30U);
  for (std::size_t k = 0; k < ids.size(); ++k) {
    EXPECT_EQ((static_cast<std::size_t>(ids[k]) + 1 + k) % 3, 0U) << k;
  }
  EXPECT_EQ(outcomes.at(*free).ids, expected({1, 2, 3}, 30));
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

TEST(Constraint, ACompleteOutputStops) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const auto id = engine.add(constrained({1, 2, 3}, 30, {.length = 7}));
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*id).ids.size(), 7U);
  EXPECT_EQ(outcomes.at(*id).finish, FinishReason::kStop);
}

TEST(Constraint, AnErrorEndsItsSequenceOnly) {
  for (const int fails_at : {0, 4}) {
    FakePipeline pipeline(1);
    Engine engine(pipeline, {});
    const auto id = engine.add(constrained({1, 2, 3}, 30, {.fails_at = fails_at}));
    const auto free = engine.add(request_of({4, 5}, 30));
    const auto outcomes = run_all(engine);
    EXPECT_EQ(outcomes.at(*id).ids.size(), static_cast<std::size_t>(fails_at));
    EXPECT_EQ(outcomes.at(*id).finish, FinishReason::kError);
    EXPECT_EQ(outcomes.at(*id).error->message, "the grammar is stuck");
    EXPECT_EQ(outcomes.at(*free).ids, expected({4, 5}, 30));
    EXPECT_THAT(pipeline.broken(), IsEmpty());
  }
}

TEST(Constraint, ATokenThatWasNotAllowedEndsItsSequenceOnly) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {});
  const auto id = engine.add(constrained({1, 2, 3}, 30, {}));
  const auto free = engine.add(request_of({4, 5}, 30));
  pipeline.spoil_answers([](TickResult& result) {
    if (result.number == 3) result.entries[0].tokens.back().id += 1;
  });
  const auto outcomes = run_all(engine);
  EXPECT_EQ(outcomes.at(*id).ids.size(), 2U);
  EXPECT_EQ(outcomes.at(*id).error->message, "the token was not allowed");
  EXPECT_EQ(outcomes.at(*free).ids, expected({4, 5}, 30));
}

TEST(Constraint, SurvivesTheLossOfKv) {
  FakePipeline pipeline(2);
  pipeline.kv_pages(4);
  Engine engine(pipeline, {});
  std::map<std::uint64_t, FakeRule> rules;
  std::map<std::uint64_t, Request> requests;
  for (int i = 0; i < 4; ++i) {
    const FakeRule rule{.phase = i, .length = 100 + i};
    const Request request = constrained(Ids(50, i), 300, rule);
    const auto id = engine.add(request);
    rules[*id] = rule;
    requests[*id] = request;
  }
  const auto outcomes = run_all(engine);
  EXPECT_GT(engine.stats().preemptions, 0U);
  for (const auto& [id, request] : requests) {
    const auto [ids, finish] = expected(request, rules[id]);
    EXPECT_EQ(outcomes.at(id).ids, ids);
    EXPECT_EQ(outcomes.at(id).finish, finish);
  }
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

}  // namespace
}  // namespace tandem::scheduler
