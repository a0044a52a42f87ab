#include "scheduler/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <vector>

namespace tandem::scheduler {
namespace {

using ::testing::ElementsAre;

SequenceView decoding(std::uint64_t id, std::uint64_t last_tick) {
  return {.id = id, .prompt = 4, .submitted = 4, .decode_ready = true, .last_tick = last_tick};
}

SequenceView prompt(std::uint64_t id, std::uint32_t tokens, std::uint32_t submitted = 0) {
  return {.id = id, .prompt = tokens, .submitted = submitted};
}

PlanState state_of(std::vector<SequenceView> sequences, int stages, int in_flight,
                   std::uint32_t step) {
  PlanState state;
  state.sequences = std::move(sequences);
  state.stages = stages;
  state.in_flight = in_flight;
  state.prefill_step_size = step;
  return state;
}

TEST(Plan, NothingToDoGivesNoTick) {
  EXPECT_FALSE(plan(state_of({}, 2, 0, 8)).has_value());
  SequenceView in_flight = decoding(1, 3);
  in_flight.decode_ready = false;
  EXPECT_FALSE(plan(state_of({in_flight}, 2, 1, 8)).has_value());
}

TEST(Plan, AFullPipelineGetsNoTick) {
  EXPECT_FALSE(plan(state_of({decoding(1, 0)}, 2, 2, 8)).has_value());
}

TEST(Plan, DecodesAreSharedAmongMicroBatches) {
  const auto entries =
      plan(state_of({decoding(1, 9), decoding(2, 7), decoding(3, 8), decoding(4, 6)}, 2, 0, 8));
  ASSERT_TRUE(entries.has_value());
  ASSERT_EQ(entries->size(), 2U);
  EXPECT_EQ((*entries)[0].sequence, 4U);  // the longest unserved first
  EXPECT_EQ((*entries)[1].sequence, 2U);
}

TEST(Plan, OneStageDecodesAllTogether) {
  EXPECT_EQ(plan(state_of({decoding(1, 1), decoding(2, 1), decoding(3, 1)}, 1, 0, 8))->size(), 3U);
}

TEST(Plan, OnlyTheLastChunkOfAPromptIsSampled) {
  EXPECT_THAT(*plan(state_of({prompt(1, 10)}, 1, 0, 8)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 8}));
  EXPECT_THAT(*plan(state_of({prompt(1, 10, 8)}, 1, 0, 8)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 2, .sample = true}));
  SequenceView scored = prompt(1, 10, 8);
  scored.samples = false;
  EXPECT_THAT(*plan(state_of({scored}, 1, 0, 8)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 2}));
}

TEST(Plan, DecodesAndPromptsShareATick) {
  const auto entries =
      *plan(state_of({prompt(1, 100), decoding(2, 1), prompt(3, 100, 98)}, 1, 0, 8));
  EXPECT_THAT(entries,
              ElementsAre(PlannedEntry{.sequence = 2, .count = 1, .decode = true, .sample = true},
                          PlannedEntry{.sequence = 1, .count = 8}));
}

TEST(Plan, ALongPromptIsCutSoThatEveryStageHasWork) {
  EXPECT_EQ(prefill_budget(4096, 1, 2048), 2048U);
  EXPECT_EQ(prefill_budget(4096, 2, 2048), 512U);
  EXPECT_EQ(prefill_budget(100, 2, 2048), kPipelinedChunkMin);
  EXPECT_EQ(prefill_budget(1U << 20, 2, 2048), 2048U);
  EXPECT_EQ(prefill_budget(100, 4, 7), 7U);
}

TEST(Plan, ScoredRowsFitTheAnswersFrame) {
  EXPECT_EQ(result_rows_max(1024), (16U << 20) / (16 * 1025));
  EXPECT_EQ(result_rows_max(0), 1U << 20);
  EXPECT_EQ(result_rows_max(std::numeric_limits<std::uint32_t>::max()), 1U);
  SequenceView first = prompt(1, 20000);
  first.scored = true;
  first.top_logprobs = 1024;
  SequenceView second = prompt(2, 20000);
  second.scored = true;
  second.top_logprobs = 1024;
  const std::uint32_t most = result_rows_max(1024);
  EXPECT_THAT(*plan(state_of({first, second}, 1, 0, 2048)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = most}));
  EXPECT_THAT(*plan(state_of({first, prompt(3, 9000)}, 1, 0, 2048)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = most},
                          PlannedEntry{.sequence = 3, .count = 2048 - most}));
  first.top_logprobs = std::numeric_limits<std::uint32_t>::max();
  EXPECT_THAT(*plan(state_of({first}, 1, 0, 2048)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 1}));
}

TEST(Plan, DecodesWithManyCandidatesAreServedInTurns) {
  std::vector<SequenceView> sequences;
  for (std::uint64_t id = 1; id <= 1024; ++id) {
    sequences.push_back(decoding(id, id));
    sequences.back().top_logprobs = 1024;
  }
  EXPECT_EQ(plan(state_of(sequences, 1, 0, 8))->size(), result_rows_max(1024));
}

TEST(Plan, DecodesCountAgainstTheRowsOfATick) {
  PlanState state = state_of({decoding(1, 1), prompt(2, 100000)}, 1, 0, 65536);
  state.rows_max = tick_rows_max(4);
  EXPECT_EQ(state.rows_max, 65536U);
  EXPECT_THAT(*plan(state),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 1, .decode = true, .sample = true},
                          PlannedEntry{.sequence = 2, .count = 65535}));
  EXPECT_EQ(tick_rows_max(32768), ((1U << 30) - (16U << 20)) / 32768);
  EXPECT_EQ(tick_rows_max(1ULL << 40), 1U);
}

TEST(Plan, RandomStatesKeepEveryRule) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const auto pick = [&](std::uint32_t low, std::uint32_t high) {
    return std::uniform_int_distribution<std::uint32_t>(low, high)(random);
  };
  for (int round = 0; round < 20000; ++round) {
    std::vector<SequenceView> sequences;
    const std::uint32_t count = pick(0, 12);
    for (std::uint32_t id = 1; id <= count; ++id) {
      SequenceView view = prompt(id, pick(1, 3000));
      view.submitted = pick(0, 2) == 0 ? view.prompt : pick(0, view.prompt);
      view.decode_ready = view.submitted == view.prompt && pick(0, 1) == 1;
      view.samples = pick(0, 3) > 0;
      view.last_tick = pick(0, 50);
      sequences.push_back(view);
    }
    const auto state = state_of(sequences, static_cast<int>(pick(1, 6)),
                                static_cast<int>(pick(0, 6)), pick(1, 2048));
    const auto entries = plan(state);
    const bool ready = std::any_of(
        sequences.begin(), sequences.end(),
        [](const SequenceView& view) { return view.decode_ready || view.submitted < view.prompt; });
    ASSERT_EQ(entries.has_value(), ready && state.in_flight < state.stages);
    if (!entries) continue;
    std::set<std::uint64_t> seen;
    std::uint32_t prompt_tokens = 0;
    for (const PlannedEntry& entry : *entries) {
      ASSERT_TRUE(seen.insert(entry.sequence).second);
      const SequenceView& view = sequences[entry.sequence - 1];
      ASSERT_GE(entry.count, 1U);
      if (entry.decode) {
        ASSERT_TRUE(view.decode_ready && entry.sample && entry.count == 1);
        continue;
      }
      prompt_tokens += entry.count;
      ASSERT_LE(view.submitted + entry.count, view.prompt);
      ASSERT_EQ(entry.sample, view.samples && view.submitted + entry.count == view.prompt);
    }
    ASSERT_LE(prompt_tokens, state.prefill_step_size);
  }
}

}  // namespace
}  // namespace tandem::scheduler
