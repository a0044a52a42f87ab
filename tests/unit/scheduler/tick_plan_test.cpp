#include "scheduler/tick_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "scheduler/prompt_queue.h"

namespace tandem::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Rows of a frame whose results have 1,024 candidates each: 16 bytes a candidate and for two more.
constexpr std::uint32_t kFullRows = (16U << 20) / (16 * 1026);

SequenceView decoding(std::uint64_t id, std::uint64_t last_tick) {
  return {.id = id, .total = 5, .submitted = 4, .answering = true, .last_tick = last_tick};
}

SequenceView prompt(std::uint64_t id, std::uint32_t tokens, std::uint32_t submitted = 0) {
  return {.id = id, .total = tokens, .submitted = submitted};
}

PlanState state_of(std::vector<SequenceView> sequences, int stages, int in_flight,
                   std::uint32_t step) {
  PlanState state;
  state.sequences = std::move(sequences);
  state.stages = stages;
  state.in_flight = in_flight;
  state.prefill_step_size = step;
  state.mixed_rows = step;
  return state;
}

std::vector<PlannedEntry> entries_of(const PlanState& state) { return plan_tick(state).entries; }

TEST(TickPlan, NothingToDoGivesNoTick) {
  EXPECT_THAT(plan_tick(state_of({}, 2, 0, 8)).entries, IsEmpty());
  SequenceView in_flight = decoding(1, 3);
  in_flight.submitted = in_flight.total;
  EXPECT_THAT(plan_tick(state_of({in_flight}, 2, 1, 8)).entries, IsEmpty());
}

TEST(TickPlan, AFullPipelineGetsNoTick) {
  EXPECT_THAT(plan_tick(state_of({decoding(1, 0)}, 2, 2, 8)).entries, IsEmpty());
}

TEST(TickPlan, DecodesAreSharedAmongMicroBatches) {
  const auto entries =
      plan_tick(state_of({decoding(1, 9), decoding(2, 7), decoding(3, 8), decoding(4, 6)}, 2, 0, 8))
          .entries;
  ASSERT_EQ(entries.size(), 2U);  // the longest unserved
  EXPECT_EQ(entries[0].sequence, 2U);
  EXPECT_EQ(entries[1].sequence, 4U);
}

TEST(TickPlan, OneStageDecodesAllTogether) {
  EXPECT_EQ(
      plan_tick(state_of({decoding(1, 1), decoding(2, 1), decoding(3, 1)}, 1, 0, 8)).entries.size(),
      3U);
}

TEST(TickPlan, OnlyTheLastChunkOfAPromptIsSampled) {
  EXPECT_THAT(entries_of(state_of({prompt(1, 10)}, 1, 0, 8)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 8}));
  EXPECT_THAT(entries_of(state_of({prompt(1, 10, 8)}, 1, 0, 8)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 2, .sample = true}));
  SequenceView scored = prompt(1, 10, 8);
  scored.samples = false;
  EXPECT_THAT(entries_of(state_of({scored}, 1, 0, 8)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 2}));
}

TEST(TickPlan, DecodesAndPromptsShareATick) {
  const auto entries =
      entries_of(state_of({prompt(1, 100), decoding(2, 1), prompt(3, 100, 98)}, 1, 0, 8));
  EXPECT_THAT(entries,
              ElementsAre(PlannedEntry{.sequence = 2, .count = 1, .decode = true, .sample = true},
                          PlannedEntry{.sequence = 3, .count = 2, .sample = true},
                          PlannedEntry{.sequence = 1, .count = 6}));
}

TEST(TickPlan, ShortPromptsShareATick) {
  const auto entries = entries_of(
      state_of({prompt(1, 100), prompt(2, 3), prompt(3, 5), prompt(4, 3), prompt(5, 4)}, 1, 0, 12));
  EXPECT_THAT(entries, ElementsAre(PlannedEntry{.sequence = 2, .count = 3, .sample = true},
                                   PlannedEntry{.sequence = 4, .count = 3, .sample = true},
                                   PlannedEntry{.sequence = 5, .count = 4, .sample = true},
                                   PlannedEntry{.sequence = 3, .count = 2}));
}

TEST(TickPlan, WhoLetEnoughPassGoesFirst) {
  SequenceView patient = prompt(1, 100);
  patient.passed = kPatience - 1;
  EXPECT_THAT(entries_of(state_of({patient, prompt(2, 9)}, 1, 0, 8)),
              ElementsAre(PlannedEntry{.sequence = 2, .count = 8}));
  patient.passed = kPatience;
  EXPECT_THAT(entries_of(state_of({patient, prompt(2, 9)}, 1, 0, 8)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 8}));
}

TEST(TickPlan, NoShortPromptPassesAMoreUrgentOne) {
  SequenceView urgent = prompt(1, 100);
  urgent.priority = -1;
  SequenceView owed = prompt(2, 50);
  owed.passed = 10 * kPatience;
  EXPECT_THAT(entries_of(state_of({urgent, owed, prompt(3, 4)}, 1, 0, 104)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 100, .sample = true},
                          PlannedEntry{.sequence = 2, .count = 4}));
}

TEST(TickPlan, ALongPromptIsCutSoThatEveryStageHasWork) {
  EXPECT_EQ(prefill_budget(4096, 1, 2048), 2048U);
  EXPECT_EQ(prefill_budget(4096, 2, 2048), 512U);
  EXPECT_EQ(prefill_budget(100, 2, 2048), kPipelinedChunkMin);
  EXPECT_EQ(prefill_budget(1U << 20, 2, 2048), 2048U);
  EXPECT_EQ(prefill_budget(100, 4, 7), 7U);
}

TEST(TickPlan, ScoredRowsFitTheAnswersFrame) {
  SequenceView first = prompt(1, 20000);
  first.scored = true;
  first.top_logprobs = 1024;
  SequenceView second = prompt(2, 20000);
  second.scored = true;
  second.top_logprobs = 1024;
  const std::uint32_t most = kFullRows;
  EXPECT_THAT(entries_of(state_of({first, second}, 1, 0, 2048)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = most}));
  EXPECT_THAT(entries_of(state_of({first, prompt(3, 90000)}, 1, 0, 2048)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = most},
                          PlannedEntry{.sequence = 3, .count = 2048 - most}));
  first.top_logprobs = std::numeric_limits<std::uint32_t>::max();
  EXPECT_THAT(entries_of(state_of({first}, 1, 0, 2048)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 1}));
}

TEST(TickPlan, DecodesWithManyCandidatesAreServedInTurns) {
  std::vector<SequenceView> sequences;
  for (std::uint64_t id = 1; id <= 1024; ++id) {
    sequences.push_back(decoding(id, id));
    sequences.back().top_logprobs = 1024;
  }
  EXPECT_EQ(entries_of(state_of(sequences, 1, 0, 8)).size(), kFullRows);
}

TEST(TickPlan, DecodesCountAgainstTheRowsOfATick) {
  PlanState state = state_of({decoding(1, 1), prompt(2, 100000)}, 1, 0, 65536);
  state.rows_max = tick_rows_max(4);
  EXPECT_EQ(state.rows_max, 65536U);
  EXPECT_THAT(entries_of(state),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 1, .decode = true, .sample = true},
                          PlannedEntry{.sequence = 2, .count = 65535}));
  EXPECT_EQ(tick_rows_max(32768), ((1U << 30) - (16U << 20)) / 32768);
  EXPECT_EQ(tick_rows_max(1ULL << 40), 1U);
}

TEST(TickPlan, PromptsAreCutShortWhileOthersDecode) {
  PlanState state = state_of({prompt(1, 100), decoding(2, 1)}, 1, 0, 2048);
  state.mixed_rows = 5;
  EXPECT_THAT(entries_of(state),
              ElementsAre(PlannedEntry{.sequence = 2, .count = 1, .decode = true, .sample = true},
                          PlannedEntry{.sequence = 1, .count = 5}));
  state.sequences[1].submitted = 5;  // its token is in flight, in another micro-batch
  EXPECT_THAT(entries_of(state), ElementsAre(PlannedEntry{.sequence = 1, .count = 5}));
  state.sequences.pop_back();
  EXPECT_THAT(entries_of(state),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 100, .sample = true}));
}

TEST(TickPlan, ALostSequenceIsRebuiltLikeAPrompt) {
  SequenceView lost{.id = 1, .total = 30, .submitted = 0, .answering = true};
  EXPECT_THAT(entries_of(state_of({lost}, 1, 0, 16)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 16}));
  lost.submitted = 16;
  EXPECT_THAT(entries_of(state_of({lost}, 1, 0, 16)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 14, .sample = true}));
  lost.submitted = 29;
  EXPECT_THAT(entries_of(state_of({lost}, 1, 0, 16)),
              ElementsAre(PlannedEntry{.sequence = 1, .count = 1, .decode = true, .sample = true}));
}

TEST(TickPlan, ASuspectHasATickToItself) {
  SequenceView suspect = decoding(2, 1);
  suspect.alone = true;
  PlanState state = state_of({decoding(1, 1), suspect, prompt(3, 10)}, 2, 0, 8);
  const PlannedEntry own{.sequence = 2, .count = 1, .decode = true, .sample = true};
  EXPECT_EQ(entries_of(state).size(), 2U) << "the others' turn";
  state.turn = {.suspects = false, .ticks = 8};
  EXPECT_THAT(entries_of(state), ElementsAre(own));
  state.in_flight = 1;
  EXPECT_THAT(entries_of(state), IsEmpty()) << "the others' tick is on its way";
  state.turn = {.suspects = true, .ticks = 1};
  EXPECT_THAT(entries_of(state), ElementsAre(own));
  state.turn.ticks = 2;
  EXPECT_THAT(entries_of(state), IsEmpty()) << "the others' turn, when it has come back";
  state.in_flight = 0;
  EXPECT_EQ(entries_of(state).size(), 2U);
  state.sequences[1].submitted = state.sequences[1].total;  // on its way
  state.turn = {.suspects = true, .ticks = 1};
  state.in_flight = 1;
  EXPECT_THAT(entries_of(state), IsEmpty());
}

TEST(TickPlan, MasksAndParametersCountAgainstTheFrame) {
  std::vector<SequenceView> sequences;
  for (std::uint64_t id = 1; id <= 1000; ++id) {
    sequences.push_back(decoding(id, id));
    sequences.back().entry_bytes = 32U << 10;
  }
  const auto entries = entries_of(state_of(sequences, 1, 0, 8));
  EXPECT_GT(entries.size(), 300U);
  EXPECT_LE(entries.size() * (32U << 10), 12U << 20);
}

}  // namespace
}  // namespace tandem::scheduler
