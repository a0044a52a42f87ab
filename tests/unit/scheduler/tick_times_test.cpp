#include "scheduler/tick_times.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace tandem::scheduler {
namespace {

/// A machine on which a tick takes `fixed` seconds and `row` for each of its rows.
struct Machine {
  double fixed = 0;
  double row = 0;
  double seconds(std::uint64_t rows) const { return fixed + row * static_cast<double>(rows); }
};

constexpr std::uint32_t kMost = 2048;

TEST(TickTimes, BeginsCautiously) {
  EXPECT_EQ(TickTimes{}.mixed_rows(1, kMost), kMixedRowsFirst);
  EXPECT_EQ(TickTimes{}.mixed_rows(1, 4), 4U);
}

TEST(TickTimes, PromptsFillWhatAStreamMayWait) {
  const Machine machines[] = {{0.016, 0.0025}, {0.005, 0.00005}, {0.2, 0.01}};
  for (const Machine& machine : machines) {
    for (const std::uint64_t decodes : {1U, 4U, 16U}) {
      TickTimes times;
      times.observe({.prompts = 512}, machine.seconds(512));  // the first prompt, alone
      for (int i = 0; i < 10; ++i) times.observe({.streams = decodes}, machine.seconds(decodes));
      for (int i = 0; i < 200; ++i) {
        const std::uint32_t rows = times.mixed_rows(decodes, kMost);
        times.observe({decodes, rows}, machine.seconds(decodes + rows));
      }
      const std::uint32_t rows = times.mixed_rows(decodes, kMost);
      const double slowdown = machine.seconds(decodes + rows) / machine.seconds(decodes);
      EXPECT_LE(slowdown, 2) << decodes << " decode";
      EXPECT_TRUE(rows == 1 || slowdown + machine.row / machine.seconds(decodes) >= 1.9);
    }
  }
}

TEST(TickTimes, MoreStreamsAreNotTakenForSlowPrompts) {
  const Machine machine{0.016, 0.0025};
  TickTimes times;
  times.observe({.prompts = 512}, machine.seconds(512));
  for (int i = 0; i < 10; ++i) times.observe({.streams = 1}, machine.seconds(1));
  // Sixteen streams and no tick without a prompt.
  for (int i = 0; i < 200; ++i) {
    const std::uint32_t rows = times.mixed_rows(16, kMost);
    times.observe({16, rows}, machine.seconds(16 + rows));
  }
  const double room = (kMixedSlowdown - 1) * machine.seconds(16) / machine.row;
  EXPECT_NEAR(times.mixed_rows(16, kMost), room, 2);
}

TEST(TickTimes, SmallBatchesAreJudgedByThemselves) {
  // A row costs half as much in a large batch.
  const auto seconds = [](std::uint64_t rows) {
    return 0.012 + 0.003 * static_cast<double>(std::min<std::uint64_t>(rows, 64)) +
           0.0015 * static_cast<double>(rows - std::min<std::uint64_t>(rows, 64));
  };
  TickTimes times;
  times.observe({.prompts = 2048}, seconds(2048));
  for (int i = 0; i < 10; ++i) times.observe({.streams = 8}, seconds(8));
  for (int i = 0; i < 3; ++i) {
    const std::uint32_t rows = times.mixed_rows(8, kMost);
    times.observe({8, rows}, seconds(8 + rows));
  }
  EXPECT_LE(seconds(8 + times.mixed_rows(8, kMost)), 2 * seconds(8));
}

TEST(TickTimes, ADeviceThatRowsCostNothingTakesAllOfThem) {
  TickTimes times;
  for (int i = 0; i < 10; ++i) {
    times.observe({.streams = 1}, 0.004);
    times.observe({1, times.mixed_rows(1, kMost)}, 0.004);
  }
  EXPECT_EQ(times.mixed_rows(1, kMost), kMost);
}

TEST(TickTimes, AHiccupDoesNotLast) {
  const Machine machine{0.016, 0.0025};
  TickTimes times;
  for (int i = 0; i < 20; ++i) {
    times.observe({.streams = 1}, machine.seconds(1));
    times.observe({1, 7}, machine.seconds(8));
  }
  const std::uint32_t before = times.mixed_rows(1, kMost);
  times.observe({.streams = 1}, 60);
  EXPECT_LE(times.mixed_rows(1, kMost), kMost);
  for (int i = 0; i < 40; ++i) times.observe({.streams = 1}, machine.seconds(1));
  EXPECT_NEAR(times.mixed_rows(1, kMost), before, 1);
}

TEST(TickTimes, HowFarTicksStrayIsLeftRoomFor) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<double> stray(1, 0.05);
  const Machine machine{0.016, 0.0025};
  TickTimes times;
  for (int i = 0; i < 200; ++i) times.observe({.streams = 8}, machine.seconds(8) * stray(random));
  std::vector<double> slowdowns;
  double rows_in_all = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::uint32_t rows = times.mixed_rows(8, kMost);
    const double seconds = machine.seconds(8 + rows) * stray(random);
    times.observe({8, rows}, seconds);
    slowdowns.push_back(seconds / machine.seconds(8));
    rows_in_all += rows;
  }
  std::sort(slowdowns.begin(), slowdowns.end());
  EXPECT_LE(slowdowns[slowdowns.size() * 95 / 100], 2);
  const double possible = machine.seconds(8) / machine.row;
  EXPECT_GE(rows_in_all / 4000, 0.7 * possible) << "the prompt gets what there is";
}

TEST(TickTimes, WhoArrivesWhileAPromptIsComputedWaitsNotLong) {
  const Machine machines[] = {{0.016, 0.0015}, {0.005, 0.00005}, {0.2, 0.01}};
  for (const Machine& machine : machines) {
    TickTimes times;
    EXPECT_EQ(times.prompt_rows(kMost), kPromptRowsFirst);
    for (int i = 0; i < 50; ++i) {
      const std::uint32_t rows = times.prompt_rows(kMost);
      times.observe({.prompts = rows}, machine.seconds(rows));
    }
    const std::uint32_t rows = times.prompt_rows(kMost);
    EXPECT_LE(machine.seconds(rows), 1.1 * kPromptSeconds);
    EXPECT_TRUE(rows == kMost || machine.seconds(rows) >= 0.9 * kPromptSeconds);
  }
}

TEST(TickTimes, AnyTimesGiveARowCountWithinItsRange) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const auto pick = [&](std::uint64_t high) {
    return std::uniform_int_distribution<std::uint64_t>(0, high)(random);
  };
  const double odd[] = {0, 1e-9, 1e9, -1, std::nan(""), std::numeric_limits<double>::infinity()};
  for (int round = 0; round < 2000; ++round) {
    TickTimes times;
    for (std::uint64_t i = pick(20); i > 0; --i) {
      const double seconds = pick(3) == 0 ? odd[pick(5)] : 1e-4 * static_cast<double>(pick(10000));
      times.observe({pick(1) * pick(3000), pick(1) * pick(3000)}, seconds);
      const auto most = static_cast<std::uint32_t>(1 + pick(4000));
      const std::uint32_t rows = times.mixed_rows(pick(100), most);
      ASSERT_GE(std::min(rows, times.prompt_rows(most)), 1U);
      ASSERT_LE(std::max(rows, times.prompt_rows(most)), most);
    }
  }
}

}  // namespace
}  // namespace tandem::scheduler
