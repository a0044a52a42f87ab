// The pure parts of failure detection on a rank: silence, what a step may take, and what the
// heartbeat thread may say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>

#include "cluster/rank/progress_board.h"
#include "cluster/rank/silence.h"
#include "cluster/timing.h"

namespace tandem::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Silence : public testing::Test {
 protected:
  // The watcher looks every 50 ms until `end`; the first silence it reports.
  std::optional<Clock::time_point> watch_until(Clock::time_point end) {
    for (; now_ < end; now_ += milliseconds(50)) {
      if (detector_.check(now_)) return now_;
    }
    return std::nullopt;
  }
  Clock::time_point start_{seconds(1000)};
  Clock::time_point now_ = start_;
  SilenceDetector detector_{start_, milliseconds(1500), milliseconds(500)};
};

TEST_F(Silence, APeerThatSpeaksIsNeverSilent) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(watch_until(now_ + milliseconds(1400)).has_value());
    detector_.heard(now_);
  }
}

TEST_F(Silence, IsNoticedWithinItsLimitAndOneLook) {
  detector_.heard(start_);
  const auto noticed = watch_until(start_ + seconds(10));
  ASSERT_TRUE(noticed.has_value());
  EXPECT_GT(*noticed, start_ + milliseconds(1500));
  EXPECT_LE(*noticed, start_ + milliseconds(1550));
}

TEST_F(Silence, TheWatchersOwnPauseIsNotHeldAgainstThePeer) {
  EXPECT_FALSE(watch_until(start_ + milliseconds(1000)).has_value());
  now_ += seconds(60);
  const Clock::time_point awake = now_;
  const auto noticed = watch_until(awake + seconds(10));
  ASSERT_TRUE(noticed.has_value());
  EXPECT_GT(*noticed, awake + milliseconds(1500)) << "the count began anew";
}

/// `rows` rows that follow `before` others of their sequence.
cost::TickLoad rows_of(std::uint64_t rows, std::uint64_t before = 0) {
  cost::TickLoad load;
  load.add_rows(rows, before);
  return load;
}

/// What a board allows a tick, to a tenth of a second.
class Budget : public testing::Test {
 protected:
  void took(const cost::TickLoad& load, Clock::duration time) {
    board_.begin(++number_, load, now_);
    board_.end(now_ += time);
  }
  double allowed(const cost::TickLoad& load) {
    board_.set_state(v1::WORKER_STATE_RUNNING);
    board_.begin(++number_, load, now_);
    double low = 0;
    double high = 1e6;
    while (high - low > 0.1) {
      const double middle = (low + high) / 2;
      const auto later = std::chrono::duration<double>(middle);
      const auto report = board_.report(now_ + std::chrono::duration_cast<Clock::duration>(later));
      (report.state() == v1::WORKER_STATE_FAILED ? high : low) = middle;
    }
    return high;
  }
  ProgressBoard board_;
  std::uint64_t number_ = 0;
  Clock::time_point now_{seconds(1000)};
};

TEST_F(Budget, AFirstTickOfAKindMayCompileForMinutes) {
  EXPECT_NEAR(allowed(rows_of(1)), 302, 0.2);
  EXPECT_NEAR(allowed(rows_of(2048)), 300 + 2 * (2048 + 2049), 0.2) << "rows, and their depth";
  for (int i = 0; i < 3; ++i) took(rows_of(1, 100), milliseconds(20));
  EXPECT_NEAR(allowed(rows_of(1, 100)), 2, 0.2);
  EXPECT_GE(allowed(rows_of(512)), 300) << "of other rows";
}

TEST_F(Budget, AHealthyTickAtAGreatDepthIsNotKilled) {
  // A prefix of 40,000 tokens was found: 1 ms a thousand positions.
  for (std::uint64_t i = 0; i < 50; ++i) took(rows_of(1, i), milliseconds(20));
  EXPECT_GE(allowed(rows_of(1, 40000)), 300);
  for (std::uint64_t i = 0; i < 3; ++i) took(rows_of(1, 40000 + i), seconds(4));
  EXPECT_NEAR(allowed(rows_of(1, 40003)), 32, 2);
  EXPECT_NEAR(allowed(rows_of(1, 40)), 2, 0.2) << "and a shallow one may take no longer";
}

TEST_F(Budget, ALastingSlownessIsFollowed) {
  for (std::uint64_t i = 0; i < 100; ++i) took(rows_of(1, i), seconds(1));
  for (std::uint64_t i = 100; i < 110; ++i) took(rows_of(1, i), seconds(7));
  EXPECT_NEAR(allowed(rows_of(1, 110)), 56, 6);
}

TEST(ProgressBoard, CountsTicksAndTheirTime) {
  ProgressBoard board;
  const Clock::time_point start{seconds(10)};
  board.set_state(v1::WORKER_STATE_RUNNING);
  board.begin(1, rows_of(4), start);
  auto report = board.report(start + milliseconds(30));
  EXPECT_EQ(report.ticks_started(), 1);
  EXPECT_EQ(report.ticks_done(), 0);
  EXPECT_EQ(report.tick_ms(), 30);
  board.end(start + milliseconds(40));
  report = board.report(start + seconds(1000));
  EXPECT_EQ(report.ticks_done(), 1);
  EXPECT_EQ(report.tick_ms(), 0);
  EXPECT_EQ(report.state(), v1::WORKER_STATE_RUNNING) << "an idle rank is not stuck";
}

TEST(ProgressBoard, ATickPastItsBudgetIsAFailureThatNamesIt) {
  ProgressBoard board;
  Clock::time_point now{seconds(10)};
  board.set_state(v1::WORKER_STATE_RUNNING);
  for (int i = 1; i <= 2; ++i) {
    board.begin(i, rows_of(1), now);
    board.end(now += milliseconds(5));
  }
  board.begin(3, rows_of(1), now);
  EXPECT_EQ(board.report(now + milliseconds(1990)).state(), v1::WORKER_STATE_RUNNING);
  const auto report = board.report(now + milliseconds(2300));
  EXPECT_EQ(report.state(), v1::WORKER_STATE_FAILED);
  EXPECT_EQ(report.error().code(), v1::ERROR_CODE_DEADLINE_EXCEEDED);
  EXPECT_THAT(report.error().message(), testing::HasSubstr("tick 3 for 2.3 s"));
}

class Progress : public testing::Test {
 protected:
  void SetUp() override {
    board_.set_state(v1::WORKER_STATE_RUNNING);
    board_.begin(7, rows_of(1), start_, [this] { return steps_; });
  }
  // Heartbeats until `end`; the first report of a failure.
  std::optional<v1::HeartbeatReply> watch_until(Clock::time_point end, std::uint64_t step) {
    for (; now_ < end; now_ += timing::kHeartbeat) {
      if (steps_) *steps_ += step;
      auto report = board_.report(now_);
      if (report.state() == v1::WORKER_STATE_FAILED) return report;
    }
    return std::nullopt;
  }
  const Clock::time_point start_{seconds(1000)};
  Clock::time_point now_ = start_;
  std::optional<std::uint64_t> steps_ = 0;
  ProgressBoard board_;
};

TEST_F(Progress, AFirstTickThatHangsIsNoticedLongBeforeItsBudget) {
  EXPECT_FALSE(watch_until(start_ + seconds(5), 1).has_value());
  const Clock::time_point stuck = now_;
  const auto failure = watch_until(now_ + seconds(30), 0);
  ASSERT_TRUE(failure.has_value());
  EXPECT_LE(now_ - stuck, timing::kComputeSilence + 2 * timing::kHeartbeat);
  EXPECT_EQ(failure->error().code(), v1::ERROR_CODE_DEADLINE_EXCEEDED);
  EXPECT_THAT(failure->error().message(), testing::HasSubstr("hangs in tick 7: 2."));
}

TEST_F(Progress, ATickThatGetsOnMayTakeItsWholeBudget) {
  const auto budget = timing::kFirstTick + timing::kFirstTickPerToken;
  EXPECT_FALSE(watch_until(start_ + budget, 1).has_value());
  const auto failure = watch_until(start_ + budget + seconds(1), 1);
  ASSERT_TRUE(failure.has_value());
  EXPECT_THAT(failure->error().message(), testing::HasSubstr("more than the 302.0 s"));
}

TEST_F(Progress, WhatNobodyCountsHasOnlyItsBudget) {
  steps_.reset();
  EXPECT_FALSE(watch_until(start_ + seconds(60), 0).has_value());
}

TEST_F(Progress, APauseOfTheWholeProcessIsNotHeldAgainstTheTick) {
  EXPECT_FALSE(watch_until(start_ + milliseconds(1500), 0).has_value());
  now_ += seconds(20);
  EXPECT_FALSE(watch_until(now_ + milliseconds(1500), 0).has_value());
  EXPECT_FALSE(watch_until(now_ + seconds(3), 1).has_value());
}

TEST_F(Progress, IsAskedOnlyWhileTheTickRuns) {
  board_.end(start_ + milliseconds(1));
  EXPECT_FALSE(watch_until(start_ + seconds(100), 0).has_value());
  board_.begin(8, rows_of(1), now_, [this] { return steps_; });
  EXPECT_FALSE(watch_until(now_ + milliseconds(1500), 0).has_value()) << "counted from its begin";
}

}  // namespace
}  // namespace tandem::cluster
