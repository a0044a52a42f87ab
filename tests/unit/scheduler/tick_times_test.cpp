#include "scheduler/tick_times.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
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

/// `streams` decodes and `prompts` rows of prompts; depth costs nothing on these machines.
cost::TickLoad load_of(std::uint64_t streams, std::uint64_t prompts) {
  return {streams + prompts, streams, 100 * (streams + prompts)};
}
std::uint32_t mixed(const TickTimes& times, std::uint64_t streams, std::uint32_t most = kMost) {
  return times.mixed_rows(load_of(streams, 0), 100, most);
}

TEST(TickTimes, BeginsCautiously) {
  EXPECT_EQ(mixed(TickTimes{}, 1), kMixedRowsFirst);
  EXPECT_EQ(mixed(TickTimes{}, 1, 4), 4U);
}

TEST(TickTimes, PromptsFillWhatAStreamMayWait) {
  const Machine machines[] = {{0.016, 0.0025}, {0.005, 0.00005}, {0.2, 0.01}};
  for (const Machine& machine : machines) {
    for (const std::uint64_t decodes : {1U, 4U, 16U}) {
      TickTimes times;
      times.observe(load_of(0, 512), machine.seconds(512));  // the first prompt, alone
      for (int i = 0; i < 10; ++i) times.observe(load_of(decodes, 0), machine.seconds(decodes));
      for (int i = 0; i < 200; ++i) {
        const std::uint32_t rows = mixed(times, decodes);
        times.observe(load_of(decodes, rows), machine.seconds(decodes + rows));
      }
      const std::uint32_t rows = mixed(times, decodes);
      const double slowdown = machine.seconds(decodes + rows) / machine.seconds(decodes);
      EXPECT_LE(slowdown, 2) << decodes << " decode";
      EXPECT_TRUE(rows == 1 || slowdown + machine.row / machine.seconds(decodes) >= 1.9);
    }
  }
}

TEST(TickTimes, MoreStreamsAreNotTakenForSlowPrompts) {
  const Machine machine{0.016, 0.0025};
  TickTimes times;
  times.observe(load_of(0, 512), machine.seconds(512));
  for (int i = 0; i < 10; ++i) times.observe(load_of(1, 0), machine.seconds(1));
  // Sixteen streams and no tick without a prompt.
  for (int i = 0; i < 200; ++i) {
    const std::uint32_t rows = mixed(times, 16);
    times.observe(load_of(16, rows), machine.seconds(16 + rows));
  }
  const double room = (kMixedSlowdown - 1) * machine.seconds(16) / machine.row;
  EXPECT_NEAR(mixed(times, 16), room, 2);
}

TEST(TickTimes, SmallBatchesAreJudgedByThemselves) {
  // A row costs half as much in a large batch.
  const auto seconds = [](std::uint64_t rows) {
    return 0.012 + 0.003 * static_cast<double>(std::min<std::uint64_t>(rows, 64)) +
           0.0015 * static_cast<double>(rows - std::min<std::uint64_t>(rows, 64));
  };
  TickTimes times;
  times.observe(load_of(0, 2048), seconds(2048));
  for (int i = 0; i < 10; ++i) times.observe(load_of(8, 0), seconds(8));
  for (int i = 0; i < 3; ++i) {
    const std::uint32_t rows = mixed(times, 8);
    times.observe(load_of(8, rows), seconds(8 + rows));
  }
  EXPECT_LE(seconds(8 + mixed(times, 8)), 2 * seconds(8));
}

TEST(TickTimes, ADeviceThatRowsCostNothingTakesAllOfThem) {
  TickTimes times;
  for (int i = 0; i < 10; ++i) {
    times.observe(load_of(1, 0), 0.004);
    times.observe(load_of(1, mixed(times, 1)), 0.004);
  }
  EXPECT_EQ(mixed(times, 1), kMost);
}

TEST(TickTimes, AHiccupDoesNotLast) {
  const Machine machine{0.016, 0.0025};
  TickTimes times;
  for (int i = 0; i < 20; ++i) {
    times.observe(load_of(1, 0), machine.seconds(1));
    times.observe(load_of(1, 7), machine.seconds(8));
  }
  const std::uint32_t before = mixed(times, 1);
  times.observe(load_of(1, 0), 60);
  EXPECT_LE(mixed(times, 1), kMost);
  for (int i = 0; i < 40; ++i) times.observe(load_of(1, 0), machine.seconds(1));
  EXPECT_NEAR(mixed(times, 1), before, 1);
}

TEST(TickTimes, HowFarTicksStrayIsLeftRoomFor) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<double> stray(1, 0.05);
  const Machine machine{0.016, 0.0025};
  TickTimes times;
  for (int i = 0; i < 200; ++i) times.observe(load_of(8, 0), machine.seconds(8) * stray(random));
  std::vector<double> slowdowns;
  double rows_in_all = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::uint32_t rows = mixed(times, 8);
    const double seconds = machine.seconds(8 + rows) * stray(random);
    times.observe(load_of(8, rows), seconds);
    slowdowns.push_back(seconds / machine.seconds(8));
    rows_in_all += rows;
  }
  std::sort(slowdowns.begin(), slowdowns.end());
  EXPECT_LE(slowdowns[slowdowns.size() * 95 / 100], 2);
  const double possible = machine.seconds(8) / machine.row;
  EXPECT_GE(rows_in_all / 4000, 0.66 * possible) << "the prompt gets what there is";
}

TEST(TickTimes, WhoArrivesWhileAPromptIsComputedWaitsNotLong) {
  const Machine machines[] = {{0.016, 0.0015}, {0.005, 0.00005}, {0.2, 0.01}};
  for (const Machine& machine : machines) {
    TickTimes times;
    EXPECT_EQ(times.prompt_rows(0, kMost), kPromptRowsFirst);
    for (int i = 0; i < 50; ++i) {
      const std::uint32_t rows = times.prompt_rows(0, kMost);
      times.observe(load_of(0, rows), machine.seconds(rows));
    }
    const std::uint32_t rows = times.prompt_rows(0, kMost);
    EXPECT_LE(machine.seconds(rows), 1.1 * kPromptSeconds);
    EXPECT_TRUE(rows == kMost || machine.seconds(rows) >= 0.9 * kPromptSeconds);
  }
}

TEST(TickTimes, DepthLeavesLessRoomForPromptsAndStreamsAtDepthMore) {
  const auto seconds = [](const cost::TickLoad& load) {
    return 0.016 + 0.0025 * static_cast<double>(load.rows) +
           1e-6 * static_cast<double>(load.attended);
  };
  const auto streams = [](std::uint64_t depth) { return cost::TickLoad{4, 4, 4 * depth}; };
  TickTimes times;
  for (const std::uint64_t depth : {100U, 4000U, 30000U}) {
    for (int i = 0; i < 10; ++i) {
      times.observe(streams(depth), seconds(streams(depth)));
      cost::TickLoad both = streams(depth);
      both.add_rows(times.mixed_rows(both, depth, kMost), depth);
      times.observe(both, seconds(both));
    }
  }
  for (const auto& [depth, before] : {std::pair(100U, 0U), {100U, 8000U}, {40000U, 0U}}) {
    cost::TickLoad both = streams(depth);
    both.add_rows(times.mixed_rows(both, before, kMost), before);
    EXPECT_LE(seconds(both), 2.05 * seconds(streams(depth))) << depth << " " << before;
  }
  EXPECT_LT(times.mixed_rows(streams(100), 8000, kMost), times.mixed_rows(streams(100), 0, kMost));
}

TEST(TickTimes, ALastingChangeOfTenIsFollowedWithinTenTicks) {
  for (const double factor : {10.0, 0.1}) {
    const Machine machine{0.016, 0.0025};
    TickTimes times;
    for (int i = 0; i < 100; ++i) {
      times.observe(load_of(4, 0), machine.seconds(4));
      const std::uint32_t rows = mixed(times, 4);
      times.observe(load_of(4, rows), machine.seconds(4 + rows));
    }
    // A long prompt: no tick without it any more.
    for (int i = 0; i < 10; ++i) {
      const std::uint32_t rows = mixed(times, 4);
      times.observe(load_of(4, rows), factor * machine.seconds(4 + rows));
    }
    const std::uint32_t rows = mixed(times, 4);
    EXPECT_LE(machine.seconds(4 + rows), 2.1 * machine.seconds(4));
    EXPECT_GE(machine.seconds(4 + rows), 1.6 * machine.seconds(4));
    times.observe(load_of(0, 64), factor * machine.seconds(64));
    EXPECT_LE(factor * machine.seconds(times.prompt_rows(0, kMost)), 1.2 * kPromptSeconds);
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
      times.observe(load_of(pick(1) * pick(3000), pick(1) * pick(3000)), seconds);
      const auto most = static_cast<std::uint32_t>(1 + pick(4000));
      const std::uint32_t rows = mixed(times, pick(100), most);
      ASSERT_GE(std::min(rows, times.prompt_rows(0, most)), 1U);
      ASSERT_LE(std::max(rows, times.prompt_rows(0, most)), most);
    }
  }
}

}  // namespace
}  // namespace tandem::scheduler
