// Which rank failed and whether an input may have caused it, from what a gateway sees.

#include "cluster/gateway/failure_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cluster/timing.h"

namespace tandem::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

/// Two ranks, the first one a local process, that are looked at every 50 ms.
class FailureMachineTest : public testing::Test {
 protected:
  FailureMachineTest() {
    for (RankReport& rank : seen_.ranks) rank.running = true;
  }
  RankReport& rank(std::size_t i) { return seen_.ranks[i]; }
  /// Ranks that answer are heard at every look.
  RingAction look() {
    for (std::size_t i = 0; i < 2; ++i) {
      if (!silent_[i]) rank(i).heard = now_;
    }
    return machine_.on(seen_, now_);
  }
  /// Looks until `end`; the first failure.
  std::optional<RingFailed> watch_until(Clock::time_point end) {
    for (; now_ < end; now_ += milliseconds(50)) {
      const RingAction action = look();
      if (const auto* failed = std::get_if<RingFailed>(&action)) return *failed;
    }
    return std::nullopt;
  }
  void lose(std::size_t i, LossCause cause, ErrorCode code, std::string why) {
    rank(i).loss = RankLoss{cause, {code, std::move(why)}};
  }

  const Clock::time_point start_{seconds(1000)};
  Clock::time_point now_ = start_;
  bool silent_[2] = {false, false};
  Looked seen_{std::vector<RankReport>(2), 0};
  FailureMachine machine_{{{"rank 0 (here)", true}, {"rank 1 (there)", false}}};
};

TEST_F(FailureMachineTest, TheVerdictSaysWhetherAnInputMayHaveCausedIt) {
  const struct {
    LossCause cause;
    ErrorCode told;
    ErrorCode verdict;
  } cases[] = {
      {LossCause::kOutside, ErrorCode::kInternal, ErrorCode::kUnavailable},
      {LossCause::kOutside, ErrorCode::kDeadlineExceeded, ErrorCode::kUnavailable},
      {LossCause::kConnection, ErrorCode::kInternal, ErrorCode::kUnavailable},
      {LossCause::kSilence, ErrorCode::kInternal, ErrorCode::kUnavailable},
      {LossCause::kCompute, ErrorCode::kInternal, ErrorCode::kInternal},
      {LossCause::kCompute, ErrorCode::kUnavailable, ErrorCode::kInternal},
      {LossCause::kCompute, ErrorCode::kDeadlineExceeded, ErrorCode::kDeadlineExceeded},
  };
  for (const auto& each : cases) {
    FailureMachine machine({{"rank 0 (here)", true}, {"rank 1 (there)", false}});
    Looked seen{std::vector<RankReport>(2), 0};
    seen.ranks[1].loss = RankLoss{each.cause, {each.told, "is gone"}};
    const RingAction action = machine.on(seen, start_);
    const auto* failed = std::get_if<RingFailed>(&action);
    ASSERT_NE(failed, nullptr);
    EXPECT_EQ(failed->rank, 1);
    EXPECT_EQ(failed->error.code, each.verdict);
    EXPECT_EQ(failed->error.message, "rank 1 (there) is gone");
    const bool reached = each.cause == LossCause::kOutside || each.cause == LossCause::kCompute;
    EXPECT_EQ(failed->unreachable, reached ? std::vector<int>{} : std::vector<int>{1});
  }
}

TEST_F(FailureMachineTest, ALocalProcessIsAskedHowItEnded) {
  lose(0, LossCause::kConnection, ErrorCode::kInternal, "ended the connection");
  const RingAction action = look();
  const auto* ask = std::get_if<AskHowItEnded>(&action);
  ASSERT_NE(ask, nullptr);
  EXPECT_EQ(ask->rank, 0);
  const RingAction answer = machine_.on(ProcessEnded{0, "was killed by signal 9"}, now_);
  ASSERT_TRUE(std::holds_alternative<RingFailed>(answer));
  const auto& failed = std::get<RingFailed>(answer);
  EXPECT_EQ(failed.error.message, "rank 0 (here) was killed by signal 9");
  EXPECT_EQ(failed.error.code, ErrorCode::kUnavailable);
}

TEST_F(FailureMachineTest, ALostNeighbourExplainsNothingWhileADeadOneIsFound) {
  lose(0, LossCause::kLink, ErrorCode::kUnavailable, "lost its link: rank 1 is gone");
  EXPECT_FALSE(watch_until(now_ + timing::kBlame).has_value());
  lose(1, LossCause::kCompute, ErrorCode::kInternal, "was killed by signal 11");
  const auto failed = watch_until(now_ + seconds(1));
  ASSERT_TRUE(failed.has_value());
  EXPECT_EQ(failed->rank, 1);
  EXPECT_EQ(failed->error.code, ErrorCode::kInternal);
}

TEST_F(FailureMachineTest, ALostLinkIsTheReasonWhenNobodyDied) {
  machine_.on(LinkBroke{{ErrorCode::kUnavailable, "the ring broke"}}, now_);
  const auto failed = watch_until(now_ + seconds(1));
  ASSERT_TRUE(failed.has_value());
  EXPECT_EQ(failed->rank, -1);
  EXPECT_EQ(failed->error.code, ErrorCode::kUnavailable);
  EXPECT_GE(now_ - start_, timing::kBlame);
}

TEST_F(FailureMachineTest, ASilentRankIsNoticedAndNoInputIsSuspected) {
  EXPECT_FALSE(watch_until(start_ + seconds(60)).has_value());
  silent_[1] = true;
  const auto failed = watch_until(start_ + seconds(70));
  ASSERT_TRUE(failed.has_value());
  EXPECT_EQ(failed->rank, 1);
  EXPECT_THAT(failed->unreachable, testing::ElementsAre(1));
  EXPECT_LE(now_ - start_, seconds(60) + timing::kSilence + milliseconds(100));
  EXPECT_EQ(failed->error.code, ErrorCode::kUnavailable);
  EXPECT_THAT(failed->error.message, HasSubstr("rank 1 (there) stopped answering for 1."));
}

TEST_F(FailureMachineTest, TheWatchersOwnPauseIsHeldAgainstNoRank) {
  machine_.on(TickAwaited{7, seconds(2)}, now_);
  EXPECT_FALSE(watch_until(start_ + seconds(1)).has_value());
  now_ += seconds(60);
  silent_[0] = silent_[1] = true;  // what they said meanwhile is read later
  look();
  silent_[0] = silent_[1] = false;
  EXPECT_FALSE(watch_until(now_ + milliseconds(1900)).has_value());
}

TEST_F(FailureMachineTest, AnAwaitedTickThatRestsTooLongIsNamed) {
  rank(0).ticks_started = rank(0).ticks_done = 7;
  rank(1).ticks_started = rank(1).ticks_done = 6;
  look();
  machine_.on(TickAwaited{7, seconds(2)}, now_);
  EXPECT_FALSE(watch_until(start_ + milliseconds(1950)).has_value());
  const auto failed = watch_until(start_ + seconds(3));
  ASSERT_TRUE(failed.has_value());
  EXPECT_EQ(failed->rank, 1);
  EXPECT_EQ(failed->error.message, "tick 7 was lost on its way to rank 1 (there)");
  EXPECT_LE(now_, start_ + milliseconds(2050));
}

TEST_F(FailureMachineTest, AGatewayThatPausesBetweenTicksIsNotToldThatOneIsLost) {
  rank(0).ticks_started = rank(0).ticks_done = 7;
  rank(1).ticks_started = rank(1).ticks_done = 7;
  look();
  machine_.on(TickAwaited{7, seconds(2)}, now_);
  EXPECT_FALSE(watch_until(start_ + seconds(1)).has_value());
  machine_.on(TickAwaited{}, now_);  // the result came; the next one's lies in the inbox
  EXPECT_FALSE(watch_until(start_ + seconds(60)).has_value()) << "a chat waits for its user";
  machine_.on(TickAwaited{8, seconds(2)}, now_);
  EXPECT_FALSE(watch_until(start_ + milliseconds(61900)).has_value());
  EXPECT_TRUE(watch_until(start_ + seconds(63)).has_value());
}

TEST_F(FailureMachineTest, ATickIsNotLostWhileARankComputesOrItsBytesArrive) {
  machine_.on(TickAwaited{7, seconds(2)}, now_);
  rank(0).ticks_started = 1;
  EXPECT_FALSE(watch_until(start_ + seconds(30)).has_value()) << "a rank computes";
  rank(0).ticks_done = 1;
  // 120 kB over a link of 12 kB/s: rank 1 hears of 16 KiB every 1.3 s.
  for (int i = 0; i < 8; ++i) {
    rank(1).received_bytes += 16384;
    EXPECT_FALSE(watch_until(now_ + milliseconds(1350)).has_value());
  }
  seen_.received_bytes += 100;  // and the last link's, at the gateway
  EXPECT_FALSE(watch_until(now_ + milliseconds(1900)).has_value());
  EXPECT_TRUE(watch_until(now_ + seconds(1)).has_value()) << "nothing moves any more";
}

}  // namespace
}  // namespace tandem::cluster
