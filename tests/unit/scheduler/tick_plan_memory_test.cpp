// plan_tick() and KV pages: who gets them, who gives them up; and every rule over random states.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "scheduler/kv_book.h"
#include "scheduler/prompt_queue.h"
#include "scheduler/tick_plan.h"

namespace tandem::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A decoding sequence with `cached` tokens in the stages.
SequenceView decoding(std::uint64_t id, std::uint32_t cached) {
  return {.id = id, .total = cached + 1, .submitted = cached, .answering = true};
}

SequenceView prompt(std::uint64_t id, std::uint32_t tokens, std::uint32_t submitted = 0) {
  return {.id = id, .total = tokens, .submitted = submitted};
}

PlanState state_of(std::vector<SequenceView> sequences, std::uint64_t free_pages) {
  PlanState state;
  state.sequences = std::move(sequences);
  state.mixed_rows = 2048;
  state.free_pages = free_pages;
  return state;
}

TEST(PlanMemory, AChunkIsAsLongAsThePagesReach) {
  EXPECT_THAT(plan_tick(state_of({prompt(1, 500)}, 3)).entries,
              ElementsAre(PlannedEntry{.sequence = 1, .count = 192}));
  EXPECT_THAT(plan_tick(state_of({prompt(1, 500, 70)}, 1)).entries,
              ElementsAre(PlannedEntry{.sequence = 1, .count = 122}));
  SequenceView shares = prompt(1, 500, 70);
  shares.copies_page = true;
  EXPECT_THAT(plan_tick(state_of({shares}, 1)).entries,
              ElementsAre(PlannedEntry{.sequence = 1, .count = 58}));
  EXPECT_THAT(plan_tick(state_of({shares}, 0)).entries, IsEmpty());
}

TEST(PlanMemory, TheLastInOrderGivesWay) {
  const TickPlan planned =
      plan_tick(state_of({decoding(1, 64), decoding(2, 70), decoding(3, 70)}, 0));
  EXPECT_EQ(planned.preempt, 3U);
  EXPECT_THAT(planned.entries, IsEmpty());
}

TEST(PlanMemory, WhoComesLastWaitsForPages) {
  const TickPlan planned = plan_tick(state_of({decoding(1, 70), decoding(2, 128)}, 0));
  EXPECT_FALSE(planned.preempt.has_value());
  EXPECT_THAT(planned.entries, ElementsAre(PlannedEntry{1, 1, true, true}));
}

TEST(PlanMemory, WhoHoldsNothingCannotGiveWay) {
  const TickPlan planned = plan_tick(state_of({prompt(1, 100, 64), prompt(2, 50)}, 0));
  EXPECT_FALSE(planned.preempt.has_value());
  EXPECT_THAT(planned.entries, IsEmpty());
}

TEST(PlanMemory, AnOlderPromptTakesPagesFromAYoungerStream) {
  EXPECT_EQ(plan_tick(state_of({prompt(1, 100, 64), decoding(2, 64)}, 0)).preempt, 2U);
  EXPECT_THAT(plan_tick(state_of({prompt(1, 100, 64), decoding(2, 64)}, 1)).entries,
              ElementsAre(PlannedEntry{.sequence = 1, .count = 36, .sample = true}));
}

TEST(PlanMemory, AShortPromptLeavesWhatOlderOnesNeed) {
  // Three pages for the older one, of five.
  EXPECT_THAT(plan_tick(state_of({prompt(1, 192), prompt(2, 150)}, 5)).entries,
              ElementsAre(PlannedEntry{.sequence = 2, .count = 128},
                          PlannedEntry{.sequence = 1, .count = 192, .sample = true}));
  EXPECT_THAT(plan_tick(state_of({prompt(1, 192), prompt(2, 150)}, 3)).entries,
              ElementsAre(PlannedEntry{.sequence = 1, .count = 192, .sample = true}));
  const TickPlan short_of_pages = plan_tick(state_of({prompt(1, 192), prompt(2, 150, 64)}, 0));
  EXPECT_EQ(short_of_pages.preempt, 2U) << "the older one is served first";
}

struct Picks {
  std::mt19937_64& random;
  std::uint32_t operator()(std::uint32_t low, std::uint32_t high) {
    return std::uniform_int_distribution<std::uint32_t>(low, high)(random);
  }
};

PlanState random_state(Picks& pick) {
  PlanState state;
  const std::uint32_t count = pick(0, 12);
  for (std::uint32_t id = 1; id <= count; ++id) {
    SequenceView view{.id = id, .total = pick(1, 3000)};
    view.submitted = pick(0, 2) == 0 ? view.total - pick(0, 1) : pick(0, view.total);
    view.answering = pick(0, 1) == 0;
    view.samples = view.answering || pick(0, 3) > 0;
    view.alone = pick(0, 15) == 0;
    view.copies_page = view.submitted % kPageTokens != 0 && pick(0, 3) == 0;
    view.scored = pick(0, 4) == 0;
    view.top_logprobs = pick(0, 4) == 0 ? 1024 : 0;
    view.entry_bytes = pick(0, 4) == 0 ? 4U << 20 : 64;
    view.last_tick = pick(0, 50);
    view.passed = pick(0, 3) == 0 ? std::int64_t{kPatience} : -std::int64_t{pick(0, 3000)};
    state.sequences.push_back(view);
  }
  state.stages = static_cast<int>(pick(1, 6));
  state.in_flight = static_cast<int>(pick(0, 6));
  state.turn = {.suspects = pick(0, 3) == 0, .ticks = pick(0, 30)};
  state.prefill_step_size = pick(1, 2048);
  state.mixed_rows = pick(1, 64);
  state.free_pages = pick(0, 1) == 0 ? pick(0, 5) : pick(0, 100);
  return state;
}

/// What a tick with these entries takes against what there is.
void check_entries(const PlanState& state, const std::vector<PlannedEntry>& entries) {
  std::set<std::uint64_t> seen;
  std::uint64_t pages = 0;
  std::uint64_t prompt_rows = 0;
  std::uint64_t scored = 0;
  std::uint64_t bytes = 0;
  const bool decodes =
      std::any_of(state.sequences.begin(), state.sequences.end(),
                  [](const SequenceView& view) { return view.decodes() && !view.alone; });
  for (const PlannedEntry& entry : entries) {
    ASSERT_TRUE(seen.insert(entry.sequence).second);
    const SequenceView& view = state.sequences[entry.sequence - 1];
    ASSERT_GE(entry.count, 1U);
    ASSERT_LE(entry.count, view.pending());
    ASSERT_EQ(entry.decode, view.decodes());
    ASSERT_EQ(entry.sample, view.samples && entry.count == view.pending());
    ASSERT_TRUE(!view.alone || entries.size() == 1);
    pages += pages_of(view.submitted + entry.count) - pages_of(view.submitted);
    pages += view.copies_page ? 1 : 0;
    bytes += view.entry_bytes + 5 * entry.count;
    if (entry.decode) continue;
    prompt_rows += entry.count;
    if (view.scored) scored += entry.count * (view.top_logprobs + 1);
  }
  ASSERT_LE(pages, state.free_pages);
  ASSERT_LE(prompt_rows, state.prefill_step_size);
  if (decodes && !state.sequences[entries[0].sequence - 1].alone) {
    ASSERT_LE(prompt_rows, state.mixed_rows);
  }
  ASSERT_LE(scored, std::uint64_t{1} << 20);
  ASSERT_TRUE(bytes <= 12U << 20 || entries.size() == 1);
}

TEST(PlanMemory, RandomStatesKeepEveryRule) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Picks pick{random};
  for (int round = 0; round < 20000; ++round) {
    const PlanState state = random_state(pick);
    const TickPlan planned = plan_tick(state);
    const auto& views = state.sequences;
    if (planned.preempt) {
      ASSERT_TRUE(planned.entries.empty());
      const std::size_t victim = *planned.preempt - 1;
      ASSERT_GT(views[victim].submitted, 0U);
      for (std::size_t i = victim + 1; i < views.size(); ++i) ASSERT_EQ(views[i].submitted, 0U);
      continue;
    }
    if (planned.entries.empty()) {
      // Someone who is ready goes on unless pages lack, the pipeline is full, or what is on its way
      // ends first because suspects go alone.
      const bool suspects = state.turn.suspects || std::ranges::any_of(views, &SequenceView::alone);
      ASSERT_TRUE(state.in_flight >= state.stages || (state.in_flight > 0 && suspects) ||
                  std::none_of(views.begin(), views.end(), [&](const SequenceView& view) {
                    return view.pending() > 0 && state.free_pages > 1;
                  }));
      continue;
    }
    ASSERT_LT(state.in_flight, state.stages);
    ASSERT_TRUE(state.in_flight == 0 ||
                views[planned.entries.front().sequence - 1].alone == state.turn.suspects);
    check_entries(state, planned.entries);
    ASSERT_FALSE(testing::Test::HasFatalFailure());
  }
}

}  // namespace
}  // namespace tandem::scheduler
