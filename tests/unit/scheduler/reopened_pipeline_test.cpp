// A pipeline that fails and is opened anew costs time, never a request.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cost/tick_cost.h"
#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_constraint.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Ids = std::vector<std::int32_t>;

const Error kKilled{ErrorCode::kUnavailable, "rank 1 was killed by signal 9"};
const Error kCrashed{ErrorCode::kInternal, "rank 1 was killed by signal 11"};

/// Stages that can be replaced under the engine.
class Replaceable final : public Pipeline {
 public:
  Replaceable(int stages, std::uint64_t kv_pages) : stages_(stages) { reopen(kv_pages); }

  void reopen(std::uint64_t kv_pages) {
    if (now_) {
      EXPECT_THAT(now_->broken(), IsEmpty());
      before_ = time();
    }
    now_ = std::make_unique<FakePipeline>(stages_);
    now_->kv_pages(kv_pages);
    if (seconds_) now_->costs(seconds_);
  }
  FakePipeline& now() { return *now_; }
  /// What each of them takes for a tick, seconds.
  void costs(std::function<double(const cost::TickLoad&)> seconds) {
    seconds_ = std::move(seconds);
    now_->costs(seconds_);
  }
  /// Of all of them together.
  Clock::time_point time() const { return before_ + now_->now().time_since_epoch(); }

  std::vector<RankInfo> ranks() override { return now_->ranks(); }
  int stages() const override { return stages_; }
  Status submit(Tick tick) override { return now_->submit(std::move(tick)); }
  Result<TickResult> next(Deadline deadline) override { return now_->next(deadline); }

 private:
  int stages_;
  std::unique_ptr<FakePipeline> now_;
  std::function<double(const cost::TickLoad&)> seconds_;
  Clock::time_point before_{};
};

TEST(ReopenedPipeline, EveryRequestEndsWithTheTokensOfAFaultFreeRun) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto upto = [&](int max) { return std::uniform_int_distribution<int>(1, max)(random); };
  for (int round = 0; round < 60; ++round) {
    const int stages = upto(4);
    const auto pages = static_cast<std::uint64_t>(8 + upto(24));
    Replaceable pipeline(stages, pages);
    Engine engine(pipeline, {.prefill_step_size = upto(64), .sequences_max = 6});
    std::map<std::uint64_t, Ids> answers;
    for (int i = upto(8); i > 0; --i) {
      Request request = request_of(Ids(static_cast<std::size_t>(upto(150)), upto(5)), upto(60));
      request.score = upto(4) == 1;
      const Ids answer = expected(request.prompt, request.max_tokens);
      answers[*engine.add(std::move(request))] = answer;
    }
    std::map<std::uint64_t, Outcome> outcomes;
    std::uint64_t alive_for = static_cast<std::uint64_t>(upto(20));
    std::uint64_t last = 0;  // the last tick before this pipeline
    pipeline.now().die_at(last + alive_for, kKilled);
    while (engine.busy()) {
      auto events = engine.step(soon());
      if (!events.ok()) {
        EXPECT_EQ(events.error().message, kKilled.message);
        pipeline.reopen(pages);
        engine.pipeline_reopened(events.error());
        last = engine.stats().ticks;
        // Long enough that whoever is rebuilt gets on before the next failure.
        alive_for = static_cast<std::uint64_t>(200 + upto(50));
        pipeline.now().die_at(last + alive_for, kKilled);
        continue;
      }
      collect(*events, outcomes);
    }
    ASSERT_EQ(outcomes.size(), answers.size());
    for (const auto& [id, answer] : answers) {
      EXPECT_EQ(outcomes[id].ids, answer);
      EXPECT_EQ(outcomes[id].finish, FinishReason::kLength);
    }
    EXPECT_THAT(pipeline.now().broken(), IsEmpty());
  }
}

TEST(ReopenedPipeline, ScoresAndConstraintsGoOnWhereTheyWere) {
  Replaceable pipeline(2, 100);
  Engine engine(pipeline, {.prefill_step_size = 4});
  Request scored = request_of(Ids(30, 7), 3);
  scored.score = true;
  const auto first = engine.add(scored);
  const FakeRule rule{.length = 40};
  Request ruled = request_of(Ids(9, 3), 50);
  ruled.constraint = std::make_shared<FakeConstraint>(rule);
  const auto answer = expected(ruled, rule);
  const auto second = engine.add(std::move(ruled));
  std::map<std::uint64_t, Outcome> outcomes;
  for (int step = 0; engine.busy(); ++step) {
    if (step % 25 == 6) {  // time enough to get further than before
      pipeline.reopen(100);
      engine.pipeline_reopened(kKilled);
    }
    auto events = engine.step(soon());
    ASSERT_TRUE(events.ok()) << events.error().message;
    collect(*events, outcomes);
    ASSERT_LT(step, 500);
  }
  ASSERT_EQ(outcomes[*first].scores.size(), 29U) << "each position once";
  for (std::size_t i = 0; i < 29; ++i) EXPECT_EQ(outcomes[*first].scores[i].position, i + 1);
  EXPECT_EQ(outcomes[*second].ids, answer.first);
  EXPECT_EQ(outcomes[*second].finish, answer.second);
}

TEST(ReopenedPipeline, WhatCameFromOutsideMakesNoSuspectsAllComeBackInOneTick) {
  for (const auto& [reason, together] : {std::pair(kKilled, 8U), std::pair(kCrashed, 1U)}) {
    Replaceable pipeline(1, 1000);
    Engine engine(pipeline, {});
    for (std::int32_t i = 0; i < 8; ++i) ASSERT_TRUE(engine.add(request_of(Ids(20, i), 40)).ok());
    for (int step = 0; step < 20; ++step) ASSERT_TRUE(engine.step(soon()).ok());
    pipeline.now().die_at(engine.stats().ticks, reason);
    const auto died = engine.step(soon());
    ASSERT_FALSE(died.ok());
    pipeline.reopen(1000);
    engine.pipeline_reopened(died.error());
    ASSERT_TRUE(engine.step(soon()).ok());
    EXPECT_EQ(pipeline.now().shapes().front().size(), together) << reason.message;
  }
}

/// Seconds after a failure until the last of 16 streams of 600 tokens has its next one, and the
/// longest that one which is back waits for another until then.
std::pair<double, double> recovery(int stages, const Error& reason) {
  constexpr std::size_t kStreams = 16;
  Replaceable pipeline(stages, 4000);
  pipeline.costs([stages](const cost::TickLoad& load) {
    return (0.01 + 0.0005 * static_cast<double>(load.rows)) / stages;
  });
  Engine engine(pipeline, {.now = [&] { return pipeline.time(); }});
  for (std::int32_t i = 0; i < std::int32_t{kStreams}; ++i) {
    EXPECT_TRUE(engine.add(request_of(Ids(300, i), 2000)).ok());
  }
  while (engine.stats().generated_tokens < kStreams * 300) EXPECT_TRUE(engine.step(soon()).ok());
  pipeline.reopen(4000);
  engine.pipeline_reopened(reason);
  const auto seconds = [](Clock::duration time) {
    return std::chrono::duration<double>(time).count();
  };
  const Clock::time_point begin = pipeline.time();
  std::map<std::uint64_t, Clock::time_point> last;
  double gap = 0;
  while (last.size() < kStreams) {
    const auto events = engine.step(soon());
    EXPECT_TRUE(events.ok());
    const auto now = pipeline.time();
    for (const Event& event : *events) {
      if (!event.token) continue;
      const auto [before, first] = last.try_emplace(event.sequence, now);
      if (!first) gap = std::max(gap, seconds(now - std::exchange(before->second, now)));
    }
    for (const auto& [id, when] : last) gap = std::max(gap, seconds(now - when));
  }
  return {seconds(pipeline.time() - begin), gap};
}

// One prefill of all is 16 * 600 rows of 0.5 ms: 4.8 s.
TEST(ReopenedPipeline, StreamsThatAreBackGoOnWhileOthersAreComputedAgain) {
  for (const int stages : {1, 2, 4}) {
    SCOPED_TRACE(stages);
    const auto [killed, pause] = recovery(stages, kKilled);
    EXPECT_LE(killed, 4.8 + 1);
    EXPECT_LE(pause, 0.6);
    const auto [crashed, turn] = recovery(stages, kCrashed);  // one after the other
    EXPECT_LE(crashed, 2 * 4.8);
    EXPECT_LE(turn, 1.1);
  }
}

TEST(ReopenedPipeline, WhatIsKilledFromOutsideAgainAndAgainIsSuspectedInTheEnd) {
  Replaceable pipeline(1, 1000);
  Engine engine(pipeline, {});
  const auto greedy = engine.add(request_of(Ids(20, 1), 40));  // takes all memory, say
  const auto innocent = engine.add(request_of(Ids(20, 2), 40));
  const auto arm = [&] {
    pipeline.now().watch([](const Tick& tick) -> std::optional<Error> {
      for (const TickEntry& entry : tick.entries) {
        if (entry.tokens.front() == 1) return kKilled;
      }
      return std::nullopt;
    });
  };
  arm();
  std::map<std::uint64_t, Outcome> outcomes;
  int failures = 0;
  while (engine.busy()) {
    auto events = engine.step(soon());
    if (events.ok()) {
      collect(*events, outcomes);
      continue;
    }
    ASSERT_LT(++failures, 10);
    pipeline.reopen(1000);
    arm();
    engine.pipeline_reopened(events.error());
  }
  EXPECT_EQ(outcomes[*innocent].ids, expected(Ids(20, 2), 40));
  EXPECT_EQ(outcomes[*greedy].finish, FinishReason::kError);
}

// With several stages an innocent's tick is on its way too whenever the culprit's kills.
TEST(ReopenedPipeline, ARequestThatKillsItAgainAndAgainEndsAloneAndOthersGoOn) {
  const Error& reason = kCrashed;
  for (const int stages : {1, 2, 4}) {
    for (const std::int32_t place : {0, 1, 2}) {
      Replaceable pipeline(stages, 100);
      Engine engine(pipeline, {});
      std::map<std::uint64_t, Ids> prompts;
      std::uint64_t poison = 0;
      for (std::int32_t i = 0; i < 3; ++i) {
        const Ids prompt(20, i == place ? 1 : 10 + i);
        const auto id = engine.add(request_of(prompt, 40));
        if (i == place) poison = *id;
        prompts[*id] = prompt;
      }
      const auto arm = [&] {
        pipeline.now().watch([](const Tick& tick) -> std::optional<Error> {
          for (const TickEntry& entry : tick.entries) {
            if (entry.position == 0 && entry.tokens.front() == 1) {
              return reason;
            }
          }
          return std::nullopt;
        });
      };
      arm();
      std::map<std::uint64_t, Outcome> outcomes;
      int failures = 0;
      while (engine.busy()) {
        auto events = engine.step(soon());
        if (events.ok()) {
          collect(*events, outcomes);
          continue;
        }
        ASSERT_LT(++failures, 10);
        pipeline.reopen(100);
        arm();
        engine.pipeline_reopened(events.error());
      }
      EXPECT_EQ(failures, 3);
      for (const auto& [id, prompt] : prompts) {
        if (id == poison) continue;
        EXPECT_EQ(outcomes[id].ids, expected(prompt, 40));
        EXPECT_EQ(outcomes[id].finish, FinishReason::kLength);
      }
      EXPECT_EQ(outcomes[poison].finish, FinishReason::kError);
      EXPECT_THAT(outcomes[poison].error->message, HasSubstr("killed by signal 11"));
    }
  }
}

TEST(ReopenedPipeline, ARequestThatIsHeldBackCanBeCancelled) {
  Replaceable pipeline(2, 100);
  Engine engine(pipeline, {});
  std::vector<std::uint64_t> ids;
  for (std::int32_t i = 1; i <= 4; ++i) ids.push_back(*engine.add(request_of(Ids(10, i), 30)));
  std::map<std::uint64_t, Outcome> outcomes;
  for (int i = 0; i < 3; ++i) collect(*engine.step(soon()), outcomes);
  pipeline.reopen(100);
  engine.pipeline_reopened(kKilled);
  EXPECT_EQ(engine.stats().waiting, 4U);
  for (const std::uint64_t id : ids) engine.cancel(id);
  EXPECT_FALSE(engine.busy());
}

TEST(ReopenedPipeline, WhatHasNoRoomAnyMoreEndsAndSaysWhy) {
  Replaceable pipeline(1, 10);
  Engine engine(pipeline, {});
  const auto long_one = engine.add(request_of(Ids(300, 1), 50));
  const auto short_one = engine.add(request_of(Ids(20, 2), 50));
  std::map<std::uint64_t, Outcome> outcomes;
  for (int i = 0; i < 3; ++i) collect(*engine.step(soon()), outcomes);
  pipeline.reopen(4);
  engine.pipeline_reopened(kKilled);
  for (auto& [id, outcome] : run_all(engine)) {
    Outcome& all = outcomes[id];
    all.ids.insert(all.ids.end(), outcome.ids.begin(), outcome.ids.end());
    all.finish = outcome.finish;
    all.error = outcome.error;
  }
  EXPECT_EQ(outcomes[*long_one].finish, FinishReason::kError);
  EXPECT_THAT(outcomes[*long_one].error->message, HasSubstr("room for 256 tokens"));
  EXPECT_EQ(outcomes[*short_one].ids, expected(Ids(20, 2), 50));
  EXPECT_EQ(engine.context_max(), 256);
}

}  // namespace
}  // namespace tandem::scheduler
