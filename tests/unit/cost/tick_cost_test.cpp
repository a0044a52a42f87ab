#include "cost/tick_cost.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace tandem::cost {
namespace {

/// What a machine takes for a tick.
struct Machine {
  double fixed = 0.016;
  double row = 0.0025;
  double draw = 0.001;
  double position = 2e-6;
  double seconds(const TickLoad& load) const {
    return fixed + row * static_cast<double>(load.rows) + draw * static_cast<double>(load.draws) +
           position * static_cast<double>(load.attended);
  }
};

TickLoad decodes(std::uint64_t streams, std::uint64_t depth) {
  TickLoad load;
  for (std::uint64_t i = 0; i < streams; ++i) load.add_rows(1, depth);
  load.draws = streams;
  return load;
}
TickLoad prompt(std::uint64_t rows, std::uint64_t before) {
  TickLoad load;
  load.add_rows(rows, before);
  return load;
}

TEST(TickLoad, ARowReadsItselfAndWhatIsBeforeIt) {
  Tick tick;
  tick.entries.push_back(
      {.sequence = 1, .position = 10, .tokens = {1, 2, 3}, .wants = {}, .sampling = {}});
  tick.entries.push_back(
      {.sequence = 2, .position = 0, .tokens = {1}, .wants = {}, .sampling = {}});
  const TickLoad load = load_of(tick);
  EXPECT_EQ(load.rows, 4U);
  EXPECT_EQ(load.draws, 0U);
  EXPECT_EQ(load.attended, 11U + 12U + 13U + 1U);
}

TEST(TickLoad, TheHeadRunsOnceForARowOfWhichSeveralThingsAreWanted) {
  Tick tick;
  const Want score{Want::Kind::kScore, 0, 2};
  tick.entries.push_back({.sequence = 1,
                          .tokens = {1, 2},
                          .wants = {score, {Want::Kind::kScore, 1, 3}, {Want::Kind::kDraw, 1}},
                          .sampling = {}});
  tick.entries.push_back(
      {.sequence = 2, .tokens = {1}, .wants = {{Want::Kind::kDraw, 0}}, .sampling = {}});
  EXPECT_EQ(load_of(tick).draws, 3U);
}

TEST(TickLoad, ARefusedEntryCostsNothing) {
  Tick tick;
  tick.entries.push_back({.sequence = 1,
                          .tokens = {1, 2},
                          .wants = {{Want::Kind::kDraw, 1}},
                          .sampling = {},
                          .refused = Error{ErrorCode::kResourceLimit, "no memory"}});
  EXPECT_EQ(load_of(tick).rows, 0U);
  EXPECT_EQ(load_of(tick).draws, 0U);
}

TEST(TickCost, KnowsNothingAtFirstAndAKindByItsFirstTick) {
  TickCost cost;
  EXPECT_FALSE(cost.predict(decodes(1, 100)).has_value());
  EXPECT_FALSE(cost.knows(decodes(1, 100)));
  cost.observe(decodes(1, 100), 0.02);
  EXPECT_TRUE(cost.knows(decodes(1, 100)));
  EXPECT_FALSE(cost.knows(decodes(1, 40000))) << "of another depth";
  EXPECT_FALSE(cost.knows(decodes(8, 100))) << "of other rows";
  EXPECT_NEAR(*cost.predict(decodes(1, 100)), 0.02, 0.001);
}

TEST(TickCost, OneTickOfEachKindTellsRowsDrawsAndDepthApart) {
  const Machine machine;
  TickCost cost;
  for (const TickLoad& load :
       {decodes(1, 100), decodes(8, 100), decodes(1, 20000), prompt(512, 0), prompt(64, 0)}) {
    cost.observe(load, machine.seconds(load));
  }
  for (const TickLoad& load :
       {decodes(4, 5000), decodes(1, 40000), decodes(2, 40000), prompt(256, 0), prompt(128, 0)}) {
    EXPECT_NEAR(*cost.predict(load) / machine.seconds(load), 1, 0.15)
        << load.rows << " rows, " << load.attended << " positions";
  }
}

TEST(TickCost, ASecondTickReplacesAFirstThatCompiled) {
  TickCost cost;
  cost.observe(decodes(1, 100), 90);
  cost.observe(decodes(1, 101), 0.02);
  EXPECT_NEAR(*cost.predict(decodes(1, 102)), 0.02, 0.002);
}

TEST(TickCost, OneTickThatStraysChangesLittle) {
  const Machine machine;
  TickCost cost;
  for (std::uint64_t i = 0; i < 20; ++i) {
    cost.observe(decodes(4, i), machine.seconds(decodes(4, i)));
    cost.observe(prompt(128, 0), machine.seconds(prompt(128, 0)));
  }
  cost.observe(decodes(4, 20), 60);
  EXPECT_NEAR(*cost.predict(decodes(4, 20)) / machine.seconds(decodes(4, 20)), 1, 0.05);
}

TEST(TickCost, ALastingChangeOfTenIsKnownWithinTenTicksInEveryKind) {
  for (const double factor : {10.0, 0.1}) {
    const Machine machine;
    TickCost cost;
    for (std::uint64_t i = 0; i < 200; ++i) {
      cost.observe(decodes(4, i), machine.seconds(decodes(4, i)));
      cost.observe(prompt(128, i), machine.seconds(prompt(128, i)));
    }
    for (std::uint64_t i = 200; i < 210; ++i) {
      cost.observe(decodes(4, i), factor * machine.seconds(decodes(4, i)));
    }
    EXPECT_NEAR(*cost.predict(decodes(4, 210)) / machine.seconds(decodes(4, 210)), factor,
                0.1 * factor);
    EXPECT_NEAR(*cost.predict(prompt(128, 0)) / machine.seconds(prompt(128, 0)), factor,
                0.2 * factor)
        << "of which none was seen since";
  }
}

TEST(TickCost, OneKindThatChangesIsBelievedWithoutTheOthers) {
  const Machine machine;
  TickCost cost;
  const TickLoad alone = decodes(4, 100);
  const TickLoad chunk = prompt(512, 0);
  for (int i = 0; i < 50; ++i) {
    cost.observe(alone, machine.seconds(alone));
    cost.observe(chunk, machine.seconds(chunk));
  }
  for (int i = 0; i < 10; ++i) {
    cost.observe(alone, machine.seconds(alone));
    cost.observe(chunk, 10 * machine.seconds(chunk));
  }
  EXPECT_NEAR(*cost.predict(chunk) / machine.seconds(chunk), 10, 1);
  EXPECT_NEAR(*cost.predict(alone) / machine.seconds(alone), 1, 0.2);
}

TEST(TickCost, NoiseIsAveraged) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<double> stray(1, 0.05);
  const Machine machine;
  TickCost cost;
  for (std::uint64_t i = 0; i < 400; ++i) {
    for (const TickLoad& load : {decodes(8, i), prompt(64, i)}) {
      cost.observe(load, machine.seconds(load) * stray(random));
    }
  }
  EXPECT_NEAR(*cost.predict(decodes(8, 400)) / machine.seconds(decodes(8, 400)), 1, 0.1);
}

TEST(TickCost, AnyTimesGiveAFiniteTimeThatIsNotNegative) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const auto pick = [&](std::uint64_t high) {
    return std::uniform_int_distribution<std::uint64_t>(0, high)(random);
  };
  const double odd[] = {0, 1e-9, 1e9, -1, std::nan(""), std::numeric_limits<double>::infinity()};
  for (int round = 0; round < 500; ++round) {
    TickCost cost;
    for (std::uint64_t i = pick(40); i > 0; --i) {
      TickLoad load = prompt(pick(3000), pick(100000));
      load.draws = pick(load.rows);
      cost.observe(load, pick(3) == 0 ? odd[pick(5)] : 1e-4 * static_cast<double>(pick(10000)));
      const auto seconds = cost.predict(prompt(pick(3000), pick(100000)));
      if (!seconds) continue;
      ASSERT_TRUE(std::isfinite(*seconds));
      ASSERT_GE(*seconds, 0);
    }
  }
}

}  // namespace
}  // namespace tandem::cost
