#include "stage/stage.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/stages.h"
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
  EXPECT_EQ(last_token(end).id, last_token(alone).id);
  EXPECT_EQ(last_token(end).logprob, last_token(alone).logprob);
}

TEST_F(StageRun, AnEntryThatDoesNotFitIsRefusedAlone) {
  const auto stage = load();
  ASSERT_TRUE(stage->run(tick(1, 0, {1, 2, 3}), {}).ok());
  expect_refused(*stage, tick(2, 0, {}), "has no tokens");
  expect_refused(*stage, tick(2, 0, {96}),
                 "tokens: token id 96 at index 0 is outside the vocabulary [0, 96)");
  expect_refused(*stage, tick(2, 0, {-1}), "token id -1");
  expect_refused(*stage, tick(2, 1, {1}), "sequence 2 is unknown", ErrorCode::kNotFound);
  expect_refused(*stage, tick(2, 0, std::vector<std::int32_t>(513, 1)), "context of 512");
  expect_refused(*stage, tick(2, 0xffffffff, {1}), "context of 512");
  expect_refused(*stage, tick(2, 0, std::vector<std::int32_t>(512, 1)), "KV memory",
                 ErrorCode::kResourceLimit);
  Tick wild = tick(2, 0, {1});
  wild.entries.front().sampling.emplace();
  wild.entries.front().sampling->top_p = 7;
  expect_refused(*stage, wild, "top_p must be in [0, 1], not 7");
  Tick greedy = tick(2, 0, {1});
  greedy.entries.front().wants[0].top_logprobs = 100000;
  expect_refused(*stage, greedy, "top_logprobs");
  Tick masked = tick(2, 0, {1});
  masked.entries.front().wants[0].allowed = {1};
  expect_refused(*stage, masked, "1 words of allowed tokens, a vocabulary of 96 needs 3");
  masked.entries.front().wants[0].allowed = {0, 0, 0};
  expect_refused(*stage, masked, "no token is allowed");
  masked.entries.front().wants[0] = {Want::Kind::kScore, 0, 1, 0, {1, 0, 0}};
  expect_refused(*stage, masked, "a score has allowed tokens");
  Tick beyond = tick(2, 0, {1});
  beyond.entries.front().wants[0].row = 1;
  expect_refused(*stage, beyond, "row 1, of 1 rows");
  Tick twice = tick(2, 0, {1});
  twice.entries.front().wants.push_back(twice.entries.front().wants[0]);
  expect_refused(*stage, twice, "out of order");
  Tick op = tick(2, 3, {1});
  op.state_ops.push_back({StateOp::Kind::kFork, 2, 1, 9});
  expect_refused(*stage, op, "sequence 2 is unknown", ErrorCode::kNotFound);
  // After all of that the first sequence goes on where it was.
  EXPECT_FALSE(stage->run(tick(1, 3, {4}), {})->result->entries[0].error.has_value());
  // One whose own entry is refused has lost its state.
  expect_refused(*stage, tick(1, 3, {4}), "sequence 1 has 4 tokens", ErrorCode::kNotFound);
  expect_refused(*stage, tick(1, 4, {4}), "sequence 1 is unknown", ErrorCode::kNotFound);
}

TEST_F(StageRun, ATickThatIsNoneIsTheStagesFailure) {
  const auto stage = load();
  expect_broken(*stage, tick(2, 0, {1}), hidden(1), "1 rows came, the tick has 0");
  Tick twice = tick(2, 0, {1});
  twice.entries.push_back(twice.entries.front());
  expect_broken(*stage, twice, {}, "twice");
}

/// What the others of a tick get does not depend on who is refused beside them.
TEST_F(StageRun, OthersOfATickNoticeNothingOfARefusal) {
  const std::vector<int> cuts[] = {{}, {1}, {1, 2}};
  for (const auto& cut : cuts) {
    tandem::testing::Stages clean(options_, cut, kLayers);
    tandem::testing::Stages mixed(options_, cut, kLayers);
    Tick with = tick(1, 0, {3, 5, 7});
    with.entries.push_back(tick(2, 4, {9, 9}).entries[0]);  // begins at what is not there
    with.entries.push_back(tick(3, 0, {2, 4}).entries[0]);
    Tick bad_mask = tick(4, 0, {1});
    bad_mask.entries[0].wants[0].allowed = {0, 0, 0};
    with.entries.push_back(bad_mask.entries[0]);
    Tick without = tick(1, 0, {3, 5, 7});
    without.entries.push_back(tick(3, 0, {2, 4}).entries[0]);
    for (int step = 0; step < 3; ++step) {
      const auto expected = clean.run(without);
      const auto actual = mixed.run(with);
      ASSERT_TRUE(expected.ok() && actual.ok());
      ASSERT_EQ(actual->entries.size(), 4U);
      for (const std::size_t bad : {1U, 3U}) ASSERT_TRUE(actual->entries[bad].error.has_value());
      for (const std::size_t good : {0U, 1U}) {
        const TokenResult& one = expected->entries[good].tokens.at(0);
        const TokenResult& other = actual->entries[2 * good].tokens.at(0);
        ASSERT_EQ(one.id, other.id);
        ASSERT_EQ(one.logprob, other.logprob);
        for (Tick* each : {&with, &without}) {
          TickEntry& entry = each->entries[each == &with ? 2 * good : good];
          entry.position += static_cast<std::uint32_t>(entry.tokens.size());
          entry.tokens = {one.id};
          entry.wants = {draw_after(entry)};
        }
      }
    }
  }
}

/// Refused by a stage in the middle, whose KV memory is smaller than the others'.
TEST_F(StageRun, AnEntryThatALaterStageRefusesIsGoneFromThereOn) {
  const auto first = load({0, 1});
  options_.kv_bytes_max = 2 * kBlockBytes / kLayers;  // one block of two layers
  const auto second = load({1, kLayers});
  Tick both = tick(1, 0, {3, 5});
  both.entries.push_back(tick(2, 0, std::vector<std::int32_t>(70, 1)).entries[0]);
  const auto middle = first->run(both, {});
  ASSERT_TRUE(middle.ok() && middle->refusals.empty());
  const auto end = second->run(both, *middle->hidden);
  ASSERT_TRUE(end.ok()) << end.error().message;
  ASSERT_EQ(end->refusals.size(), 1U);
  EXPECT_EQ(end->result->entries[1].error->code, ErrorCode::kResourceLimit);
  // As the frame goes on: rows of refused entries are not among the hidden states.
  both.entries[1].refused = Error{ErrorCode::kResourceLimit, "layers [0, 1): KV memory"};
  options_.kv_bytes_max = 4 * kBlockBytes;
  const auto last = load({1, kLayers});
  Hidden two = *middle->hidden;
  two.rows = 2;
  two.bytes = SharedBytes(two.bytes.owner(), {two.bytes.data(), 2 * two.bytes.size() / 72});
  const auto result = last->run(both, two);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->result->entries[1].error->message, "layers [0, 1): KV memory");
  EXPECT_EQ(last_token(result).logprob, last_token(end).logprob);
}

TEST_F(StageRun, AStepGoesOnFromWhatTheOneBeforeDrew) {
  const auto told = load();
  const auto ahead = load();
  EXPECT_TRUE(ahead->info().feeds_itself());
  Tick step = tick(1, 0, {3, 5, 7});
  step.entries[0].sampling.emplace().temperature = 1;
  step.entries[0].sampling->repetition_penalty = 1.5F;
  Tick blind = step;
  for (std::uint64_t number = 1; number < 40; ++number) {
    step.number = blind.number = number;
    const auto expected = told->run(step, {});
    const auto actual = ahead->run(blind, {});
    ASSERT_TRUE(expected.ok() && actual.ok());
    ASSERT_FALSE(actual->result->entries[0].error.has_value());
    ASSERT_EQ(last_token(actual).id, last_token(expected).id) << number;
    ASSERT_EQ(last_token(actual).logprob, last_token(expected).logprob);
    const auto position = static_cast<std::uint32_t>(number + 2);
    step = tick(1, position, {last_token(expected).id});
    blind = tick(1, position, {kDrawnToken});
    blind.entries[0].drawn_in = number;
  }
  blind.entries[0].drawn_in = 38;
  expect_refused(*ahead, blind, "tick 38 drew nothing for it", ErrorCode::kNotFound);
  blind.entries[0].tokens = {5};
  expect_refused(*ahead, blind, "token id 5 stands where a drawn token goes");
  const auto half = load({0, 1});
  EXPECT_FALSE(half->info().feeds_itself());
  blind.entries[0].tokens = {kDrawnToken};
  const auto refused = half->run(blind, {});
  ASSERT_TRUE(refused.ok());
  EXPECT_NE(refused->refusals.at(0).error.message.find("does not know what was drawn"),
            std::string::npos);
}

/// Rows of one entry draw as if each had come alone: what a draft is checked against.
TEST_F(StageRun, AnEntryDrawsAtSeveralRowsAsInSeveralTicks) {
  const std::vector<std::int32_t> text = {3, 5, 7, 5, 3, 9};
  SamplingParams params;
  params.temperature = 1;
  params.frequency_penalty = 2;
  params.frequency_context = 0;
  params.repetition_penalty = 1.4F;
  const auto alone = load();
  std::vector<std::int32_t> expected;
  for (std::uint32_t i = 0; i < text.size(); ++i) {
    Tick one = tick(1, i, {text[i]});
    if (i == 0) one.entries[0].sampling = params;
    one.entries[0].prompt = 2;
    expected.push_back(last_token(alone->run(one, {})).id);
  }
  Tick all = tick(1, 0, text);
  all.entries[0].sampling = params;
  all.entries[0].prompt = 2;
  all.entries[0].wants.clear();
  for (std::uint32_t row = 0; row < text.size(); ++row)
    all.entries[0].wants.push_back({.row = row});
  const auto output = load()->run(all, {});
  ASSERT_TRUE(output.ok()) << output.error().message;
  std::vector<std::int32_t> drawn;
  for (const TokenResult& token : output->result->entries[0].tokens) drawn.push_back(token.id);
  EXPECT_EQ(drawn, expected);
}

TEST_F(StageRun, OnlyAllowedTokensAreDrawn) {
  const auto stage = load();
  for (std::uint32_t token = 0; token < TinyCheckpoint::kVocabulary; ++token) {
    Tick step = tick(1, token, {1});
    auto& allowed = step.entries.front().wants[0].allowed;
    allowed.resize(3);
    allowed[token / 32] = 1U << (token % 32);
    const auto output = stage->run(step, {});
    ASSERT_TRUE(output.ok()) << output.error().message;
    EXPECT_EQ(last_token(output).id, static_cast<std::int32_t>(token));
  }
}

TEST_F(StageRun, HiddenStatesAreCheckedAgainstThePlan) {
  const auto last = load({2, kLayers});
  const Tick step = tick(1, 0, {1, 2});
  expect_broken(*last, step, {}, "0 rows came, the tick has 2");
  expect_broken(*last, step, hidden(3), "3 rows came");
  Hidden wrong = hidden(2);
  wrong.cols = 32;
  expect_broken(*last, step, wrong, "32 columns of F32 came, the plan says 64 of F32");
  wrong = hidden(2);
  wrong.dtype = DType::kBF16;
  expect_broken(*last, step, wrong, "columns of BF16");
  wrong = hidden(2);
  wrong.bytes = SharedBytes(wrong.bytes.owner(), {wrong.bytes.data(), wrong.bytes.size() - 1});
  expect_broken(*last, step, wrong, "511 bytes came");
  wrong = hidden(2);
  wrong.rows = -2;
  expect_broken(*last, step, wrong, "-2 rows");
  EXPECT_TRUE(last->run(step, hidden(2)).ok());
}

TEST_F(StageRun, LogitsThatAreNoNumbersEndTheirSequenceOnly) {
  const auto last = load({2, kLayers});
  Tick both = tick(1, 0, {1});
  both.entries.push_back(tick(2, 0, {1}).entries[0]);
  Hidden broken = hidden(2);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<std::byte> rows(broken.bytes.data(), broken.bytes.data() + broken.bytes.size());
  std::memcpy(rows.data(), &nan, 4);
  broken.bytes = SharedBytes(std::move(rows));
  const auto output = last->run(both, broken);
  ASSERT_TRUE(output.ok()) << output.error().message;
  const EntryResult& bad = output->result->entries[0];
  EXPECT_EQ(bad.error->code, ErrorCode::kInternal);
  EXPECT_EQ(bad.error->message, "layers [2, 3): the model's logits are not finite numbers");
  EXPECT_TRUE(bad.tokens.empty());
  const auto alone = load({2, kLayers})->run(tick(2, 0, {1}), hidden(1));
  EXPECT_EQ(output->result->entries[1].tokens.at(0).id, last_token(alone).id);
  EXPECT_EQ(output->result->entries[1].tokens.at(0).logprob, last_token(alone).logprob);
  // The sequence can be freed and computed anew.
  Tick again = tick(1, 0, {1});
  again.state_ops.push_back({StateOp::Kind::kFree, 1, 0, 0});
  EXPECT_FALSE(last->run(again, hidden(1))->result->entries[0].error.has_value());
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
      want_scores(step.entries.front());
      if (end < 9) step.entries[0].wants.push_back({Want::Kind::kScore, 3, tokens[4], 0});
      std::erase_if(step.entries[0].wants,
                    [](const Want& w) { return w.kind == Want::Kind::kDraw; });
      const auto output = stage->run(step, {});
      EXPECT_TRUE(output.ok()) << output.error().message;
      if (!output.ok()) return logprobs;
      for (const auto& each : output->result->entries[0].tokens) logprobs.push_back(each.logprob);
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
        logprob = last_token(output).logprob;
      } else {
        error = output.error().message;
      }
    }).join();
    EXPECT_EQ(error, "");
    EXPECT_EQ(logprob, last_token(expected).logprob);
  }
}

}  // namespace
}  // namespace tandem::stage
