#include "scheduler/tick_times.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

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
  EXPECT_EQ(TickTimes{}.prompt_rows(1, kMost), kMixedRowsFirst);
  EXPECT_EQ(TickTimes{}.prompt_rows(1, 4), 4U);
}

TEST(TickTimes, PromptsFillWhatAStreamMayWait) {
  const Machine machines[] = {{0.016, 0.0025}, {0.005, 0.00005}, {0.2, 0.01}};
  for (const Machine& machine : machines) {
    for (const std::uint64_t decodes : {1U, 4U, 16U}) {
      TickTimes times;
      times.observe(512, true, machine.seconds(512));  // the first prompt, alone
      for (int i = 0; i < 10; ++i) times.observe(decodes, false, machine.seconds(decodes));
      for (int i = 0; i < 100; ++i) {
        const std::uint32_t rows = times.prompt_rows(decodes, kMost);
        times.observe(decodes + rows, true, machine.seconds(decodes + rows));
      }
      const std::uint32_t rows = times.prompt_rows(decodes, kMost);
      const double slowdown = machine.seconds(decodes + rows) / machine.seconds(decodes);
      EXPECT_LE(slowdown, 2) << decodes << " decode";
      EXPECT_TRUE(rows == 1 || slowdown + machine.row / machine.seconds(decodes) >= 1.7);
    }
  }
}

TEST(TickTimes, MoreStreamsAreNotTakenForSlowPrompts) {
  const Machine machine{0.016, 0.0025};
  TickTimes times;
  times.observe(512, true, machine.seconds(512));
  for (int i = 0; i < 10; ++i) times.observe(1, false, machine.seconds(1));
  // Sixteen streams and no tick without a prompt.
  for (int i = 0; i < 200; ++i) {
    const std::uint32_t rows = times.prompt_rows(16, kMost);
    times.observe(16 + rows, true, machine.seconds(16 + rows));
  }
  EXPECT_NEAR(times.prompt_rows(16, kMost), 0.8 * machine.seconds(16) / machine.row, 2);
}

TEST(TickTimes, SmallBatchesAreJudgedByThemselves) {
  // A row costs half as much in a large batch.
  const auto seconds = [](std::uint64_t rows) {
    return 0.012 + 0.003 * static_cast<double>(std::min<std::uint64_t>(rows, 64)) +
           0.0015 * static_cast<double>(rows - std::min<std::uint64_t>(rows, 64));
  };
  TickTimes times;
  times.observe(2048, true, seconds(2048));
  for (int i = 0; i < 10; ++i) times.observe(8, false, seconds(8));
  for (int i = 0; i < 3; ++i) {
    const std::uint32_t rows = times.prompt_rows(8, kMost);
    times.observe(8 + rows, true, seconds(8 + rows));
  }
  EXPECT_LE(seconds(8 + times.prompt_rows(8, kMost)), 2 * seconds(8));
}

TEST(TickTimes, ADeviceThatRowsCostNothingTakesAllOfThem) {
  TickTimes times;
  for (int i = 0; i < 10; ++i) {
    times.observe(1, false, 0.004);
    times.observe(64, true, 0.004);
  }
  EXPECT_EQ(times.prompt_rows(1, kMost), kMost);
}

TEST(TickTimes, AHiccupDoesNotLast) {
  const Machine machine{0.016, 0.0025};
  TickTimes times;
  for (int i = 0; i < 20; ++i) {
    times.observe(1, false, machine.seconds(1));
    times.observe(8, true, machine.seconds(8));
  }
  const std::uint32_t before = times.prompt_rows(1, kMost);
  times.observe(1, false, 60);
  EXPECT_LE(times.prompt_rows(1, kMost), kMost);
  for (int i = 0; i < 40; ++i) times.observe(1, false, machine.seconds(1));
  EXPECT_NEAR(times.prompt_rows(1, kMost), before, 1);
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
      times.observe(pick(3000), pick(1) == 0, seconds);
      const auto most = static_cast<std::uint32_t>(1 + pick(4000));
      const std::uint32_t rows = times.prompt_rows(pick(100), most);
      ASSERT_GE(rows, 1U);
      ASSERT_LE(rows, most);
    }
  }
}

}  // namespace
}  // namespace tandem::scheduler
