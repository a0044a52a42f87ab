#include "stage/stage.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "unit/stage/stage_fixture.h"

namespace tandem::stage {
namespace {

TEST_F(StageRun, MemoryFollowsTheCache) {
  const auto stage = load();
  const std::uint64_t weights = stage->info().weight_bytes;
  ASSERT_TRUE(stage->run(tick(1, 0, std::vector<std::int32_t>(65, 1)), {}).ok());
  EXPECT_EQ(stage->memory_bytes(), weights + 2 * kBlockBytes);
  Tick free;
  free.epoch = 5;
  free.number = 7;
  free.state_ops.push_back({StateOp::Kind::kFree, 1, 0, 0});
  const auto output = stage->run(free, {});
  ASSERT_TRUE(output.ok()) << output.error().message;
  ASSERT_TRUE(output->result.has_value());
  EXPECT_EQ(output->result->number, 7U);
  EXPECT_EQ(stage->memory_bytes(), weights + 2 * kBlockBytes);  // kept for what comes next
  ASSERT_TRUE(stage->run(tick(2, 0, std::vector<std::int32_t>(129, 1)), {}).ok());
  EXPECT_EQ(stage->memory_bytes(), weights + 3 * kBlockBytes);
}

TEST_F(StageRun, ProgressGrowsWithTheLoopsOfATickAndIsUnknownForMlx) {
  auto stage = load();
  ASSERT_TRUE(stage);
  const auto before = stage->progress();
  ASSERT_TRUE(before.has_value());
  ASSERT_TRUE(stage->run(tick(1, 0, {1, 2, 3}), {}).ok());
  EXPECT_GE(*stage->progress(), *before + kLayers) << "at least a step a layer";
  options_.mlx_kernels = true;
  stage = load();
  ASSERT_TRUE(stage);
  EXPECT_FALSE(stage->progress().has_value());
}

TEST_F(StageRun, EachStageGivesWhatTheNextTakes) {
  const auto first = load({0, 2});
  const auto second = load({2, kLayers});
  const auto whole = load();
  const Tick step = tick(1, 0, {3, 5, 7});
  const auto middle = first->run(step, {});
  ASSERT_TRUE(middle.ok()) << middle.error().message;
  ASSERT_TRUE(middle->hidden.has_value());
  EXPECT_FALSE(middle->result.has_value());
  EXPECT_EQ(middle->hidden->rows, 3);
  EXPECT_EQ(middle->hidden->bytes.size(), 3U * 64 * 4);
  const auto end = second->run(step, *middle->hidden);
  ASSERT_TRUE(end.ok()) << end.error().message;
  EXPECT_FALSE(end->hidden.has_value());
  const auto alone = whole->run(step, {});
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(end->result->epoch, 5U);
  EXPECT_EQ(end->result->sampled.at(0).id, alone->result->sampled.at(0).id);
  EXPECT_EQ(end->result->sampled.at(0).logprob, alone->result->sampled.at(0).logprob);
}

TEST_F(StageRun, ATickThatDoesNotFitChangesNothing) {
  const auto stage = load();
  ASSERT_TRUE(stage->run(tick(1, 0, {1, 2, 3}), {}).ok());
  expect_refused(*stage, tick(2, 0, {}), {}, "has no tokens");
  expect_refused(*stage, tick(2, 0, {96}), {},
                 "tokens: token id 96 at index 0 is outside the vocabulary [0, 96)");
  expect_refused(*stage, tick(2, 0, {-1}), {}, "token id -1");
  expect_refused(*stage, tick(2, 1, {1}), {}, "sequence 2 is unknown");
  expect_refused(*stage, tick(1, 2, {1}), {}, "sequence 1 has 3 tokens");
  expect_refused(*stage, tick(1, 3, std::vector<std::int32_t>(510, 1)), {}, "context of 512");
  expect_refused(*stage, tick(1, 0xffffffff, {1}), {}, "context of 512");
  expect_refused(*stage, tick(2, 0, std::vector<std::int32_t>(512, 1)), {}, "KV memory",
                 ErrorCode::kResourceLimit);
  expect_refused(*stage, tick(2, 0, {1}), hidden(1), "1 rows came, the tick has 0");
  Tick twice = tick(2, 0, {1});
  twice.entries.push_back(twice.entries.front());
  expect_refused(*stage, twice, {}, "twice");
  Tick wild = tick(2, 0, {1});
  wild.entries.front().sampling.emplace();
  wild.entries.front().sampling->top_p = 7;
  expect_refused(*stage, wild, {}, "top_p must be in [0, 1], not 7");
  Tick greedy = tick(2, 0, {1});
  greedy.entries.front().top_logprobs = 100000;
  expect_refused(*stage, greedy, {}, "top_logprobs");
  Tick masked = tick(2, 0, {1});
  masked.entries.front().allowed = {1};
  expect_refused(*stage, masked, {}, "1 words of allowed tokens, a vocabulary of 96 needs 3");
  masked.entries.front().allowed = {0, 0, 0};
  expect_refused(*stage, masked, {}, "no token is allowed");
  masked.entries.front().allowed = {1, 0, 0};
  masked.entries.front().sample = false;
  expect_refused(*stage, masked, {}, "has allowed tokens but draws none");
  Tick op = tick(1, 3, {1});
  op.state_ops.push_back({StateOp::Kind::kRewind, 1, 0, 9});
  expect_refused(*stage, op, {}, "rewind");
  // After all of that the sequence goes on where it was.
  EXPECT_TRUE(stage->run(tick(1, 3, {4}), {}).ok());
}

TEST_F(StageRun, OnlyAllowedTokensAreDrawn) {
  const auto stage = load();
  for (std::uint32_t token = 0; token < TinyCheckpoint::kVocabulary; ++token) {
    Tick step = tick(1, token, {1});
    step.entries.front().allowed.resize(3);
    step.entries.front().allowed[token / 32] = 1U << (token % 32);
    const auto output = stage->run(step, {});
    ASSERT_TRUE(output.ok()) << output.error().message;
    EXPECT_EQ(output->result->sampled.at(0).id, static_cast<std::int32_t>(token));
  }
}

TEST_F(StageRun, HiddenStatesAreCheckedAgainstThePlan) {
  const auto last = load({2, kLayers});
  const Tick step = tick(1, 0, {1, 2});
  expect_refused(*last, step, {}, "0 rows came, the tick has 2");
  expect_refused(*last, step, hidden(3), "3 rows came");
  Hidden wrong = hidden(2);
  wrong.cols = 32;
  expect_refused(*last, step, wrong, "32 columns of F32 came, the plan says 64 of F32");
  wrong = hidden(2);
  wrong.dtype = DType::kBF16;
  expect_refused(*last, step, wrong, "columns of BF16");
  wrong = hidden(2);
  wrong.bytes.pop_back();
  expect_refused(*last, step, wrong, "511 bytes came");
  wrong = hidden(2);
  wrong.rows = -2;
  expect_refused(*last, step, wrong, "-2 rows");
  EXPECT_TRUE(last->run(step, hidden(2)).ok());
}

TEST_F(StageRun, LogitsThatAreNoNumbersNameTheStage) {
  const auto last = load({2, kLayers});
  Hidden broken = hidden(1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(broken.bytes.data(), &nan, 4);
  const auto output = last->run(tick(1, 0, {1}), broken);
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().code, ErrorCode::kInternal);
  EXPECT_EQ(output.error().message, "layers [2, 3): the model's logits are not finite numbers");
  // The sequence can be freed and the stage goes on.
  Tick again = tick(1, 0, {1});
  again.state_ops.push_back({StateOp::Kind::kFree, 1, 0, 0});
  EXPECT_TRUE(last->run(again, hidden(1)).ok());
}

TEST_F(StageRun, MlxsOwnOperationsAgree) {
  const std::vector<std::int32_t> tokens = {9, 8, 7, 6, 5, 4, 3, 2, 1};
  auto scores = [&](bool mlx) {
    options_.mlx_kernels = mlx;
    const auto stage = load();
    std::vector<float> logprobs;
    for (const auto& [begin, end] : {std::pair{0, 4}, std::pair{4, 9}}) {
      Tick step = tick(1, static_cast<std::uint32_t>(begin),
                       {tokens.begin() + begin, tokens.begin() + end});
      step.entries.front().score = true;
      const auto output = stage->run(step, {});
      EXPECT_TRUE(output.ok()) << output.error().message;
      if (!output.ok()) return logprobs;
      for (const auto& each : output->result->scores) logprobs.push_back(each.logprob);
    }
    EXPECT_EQ(stage->memory_bytes(), stage->info().weight_bytes + kBlockBytes);
    return logprobs;
  };
  const auto ours = scores(false);
  const auto theirs = scores(true);
  ASSERT_EQ(ours.size(), tokens.size() - 1);
  ASSERT_EQ(theirs.size(), ours.size());
  for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i], 1e-4) << i;
}

TEST_F(StageRun, RunsInAnotherThreadThanItWasLoadedIn) {
  for (const bool mlx : {false, true}) {
    options_.mlx_kernels = mlx;
    const auto here = load();
    const auto there = load();
    const auto expected = here->run(tick(1, 0, {3, 5, 7}), {});
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    float logprob = 0;
    std::string error;
    std::thread([&] {
      const auto output = there->run(tick(1, 0, {3, 5, 7}), {});
      if (output.ok()) {
        logprob = output->result->sampled.at(0).logprob;
      } else {
        error = output.error().message;
      }
    }).join();
    EXPECT_EQ(error, "");
    EXPECT_EQ(logprob, expected->result->sampled.at(0).logprob);
  }
}

TEST_F(StageRun, ScoresContinueOnlyAfterAScoredChunk) {
  const auto stage = load();
  Tick first = tick(1, 0, {1, 2});
  ASSERT_TRUE(stage->run(first, {}).ok());
  Tick second = tick(1, 2, {3, 4});
  second.entries.front().score = true;
  auto output = stage->run(second, {});
  ASSERT_EQ(output->result->scores.size(), 1U) << "nothing was kept of an unscored chunk";
  EXPECT_EQ(output->result->scores[0].position, 3U);
  Tick third = tick(1, 4, {5});
  third.entries.front().score = true;
  third.entries.front().sample = false;
  output = stage->run(third, {});
  ASSERT_EQ(output->result->scores.size(), 1U);
  EXPECT_EQ(output->result->scores[0].position, 4U);
  EXPECT_EQ(output->result->scores[0].id, 5);
  EXPECT_TRUE(output->result->sampled.empty());
}

}  // namespace
}  // namespace tandem::stage
