// How busy a rank is, and how far away: counted by it, made into rates by the gateway.

#include "cluster/rank/rank_work.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>

#include "cluster/gateway/rank_state.h"
#include "cluster/link/round_trips.h"
#include "cluster/rank/progress_board.h"
#include "cluster/wire/load_messages.h"

namespace tandem::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Clock::time_point kStart{seconds(1000)};

TEST(WorkMeter, CountsWhatIsUnderWayToo) {
  WorkMeter meter;
  meter.turn_to(WorkMeter::Doing::kWaiting, kStart);
  meter.turn_to(WorkMeter::Doing::kComputing, kStart + milliseconds(100));
  EXPECT_EQ(meter.work(kStart + milliseconds(130)).busy_us, 30'000U);
  meter.turn_to(WorkMeter::Doing::kOther, kStart + milliseconds(150));
  meter.ticked({.rows = 7}, milliseconds(50));
  meter.sent(64);
  meter.turn_to(WorkMeter::Doing::kWaiting, kStart + milliseconds(160));
  const RankWork work = meter.work(kStart + milliseconds(200));
  EXPECT_EQ(work.ticks, 1U);
  EXPECT_EQ(work.tokens, 7U);
  EXPECT_EQ(work.sent_bytes, 64U);
  EXPECT_NEAR(static_cast<double>(work.predicted_us), 50'000, 1);
  EXPECT_EQ(work.busy_us, 50'000U);
  EXPECT_EQ(work.waiting_us, 140'000U);
  EXPECT_EQ(meter.work(kStart).waiting_us, 100'000U) << "a clock that is behind takes nothing away";
}

RankWork work_at(std::uint64_t second, std::uint64_t busy_seconds, std::uint64_t tokens) {
  return {.clock_us = second * 1'000'000,
          .ticks = tokens / 2,
          .tokens = tokens,
          .busy_us = busy_seconds * 1'000'000,
          .waiting_us = (second - busy_seconds) * 1'000'000,
          .sent_bytes = tokens * 100};
}

TEST(RankWindow, SaysNothingBeforeTheSecondPoint) {
  RankWindow window;
  EXPECT_EQ(window.rates().load, 0);
  window.note(work_at(5, 5, 100));
  EXPECT_EQ(window.rates().tokens_per_second, 0);
}

TEST(RankWindow, CountsTheLastFiveSecondsOnly) {
  RankWindow window;
  for (std::uint64_t i = 0; i <= 20; ++i) {
    const std::uint64_t busy = i < 10 ? 0 : i - 10;
    window.note(work_at(i, busy, busy * 40));
  }
  const RankRates rates = window.rates();
  EXPECT_DOUBLE_EQ(rates.load, 1);
  EXPECT_DOUBLE_EQ(rates.waiting, 0);
  EXPECT_DOUBLE_EQ(rates.tokens_per_second, 40);
  EXPECT_DOUBLE_EQ(rates.ticks_per_second, 20);
  EXPECT_DOUBLE_EQ(rates.sent_bytes_per_second, 4000);
}

TEST(RankWindow, ARankThatRestsForLongIsIdleAtOnce) {
  RankWindow window;
  for (std::uint64_t i = 0; i <= 10; ++i) window.note(work_at(i, i, i * 40));
  window.note(work_at(3600, 10, 400));
  EXPECT_EQ(window.rates().load, 0);
  EXPECT_EQ(window.rates().tokens_per_second, 0);
}

TEST(RankWindow, CountersThatRunBackwardsBeginANewWindow) {
  RankWindow window;
  for (std::uint64_t i = 0; i <= 3; ++i) window.note(work_at(i, i, i * 40));
  window.note(work_at(1, 1, 40));
  EXPECT_EQ(window.rates().tokens_per_second, 0);
  RankWork liar = work_at(2, 2, 80);
  liar.busy_us = ~std::uint64_t{0};
  window.note(liar);
  EXPECT_EQ(window.rates().load, 1) << "never more than all of the time";
}

TEST(RoundTrips, TheShortestOfTheLastFewIsTheDelay) {
  RoundTrips trips;
  EXPECT_EQ(trips.shortest(), std::nullopt);
  auto now = kStart;
  std::uint64_t number = 0;
  for (const int took : {9, 3, 7, 8, 9, 8, 7}) {
    trips.begin(++number, now);
    now += milliseconds(took);
    trips.end(number, now);
  }
  EXPECT_EQ(*trips.shortest(), milliseconds(7)) << "the 3 ms were long ago";
}

TEST(RoundTrips, OneIsTimedAtATimeAndALostOneIsForgotten) {
  RoundTrips trips;
  trips.begin(1, kStart);
  trips.begin(2, kStart + milliseconds(250));
  trips.end(2, kStart + milliseconds(260));
  EXPECT_EQ(trips.shortest(), std::nullopt);
  trips.end(1, kStart + milliseconds(400));
  EXPECT_EQ(*trips.shortest(), milliseconds(400)) << "a way that is longer than their distance";
  trips.end(1, kStart + milliseconds(500));
  EXPECT_EQ(*trips.shortest(), milliseconds(400)) << "an answer counts once";
  trips.begin(3, kStart + seconds(1));
  EXPECT_TRUE(trips.under_way(kStart + seconds(10)));
  trips.begin(4, kStart + seconds(12));
  trips.end(4, kStart + seconds(12) + milliseconds(5));
  EXPECT_EQ(*trips.shortest(), milliseconds(5));
}

TEST(ProgressBoard, ReportsWorkAndTheMemoryOfContexts) {
  ProgressBoard board;
  board.wait(kStart);
  board.begin(1, {.rows = 30}, kStart + milliseconds(40));
  EXPECT_EQ(board.report(kStart + milliseconds(50)).work().busy_us(), 10'000U);
  board.end(kStart + milliseconds(60), 4096);
  board.sent(500);
  const auto reply = board.report(kStart + milliseconds(70));
  EXPECT_EQ(take_work(reply.work()).tokens, 30U);
  EXPECT_EQ(take_work(reply.work()).busy_us, 20'000U);
  EXPECT_EQ(take_work(reply.work()).waiting_us, 40'000U);
  EXPECT_EQ(take_work(reply.work()).sent_bytes, 500U);
  EXPECT_EQ(reply.kv_bytes(), 4096U);
}

TEST(RankState, ComesFromTheLastHeartbeatAndNonsenseIsLeftOut) {
  WorkerHealth health;
  EXPECT_EQ(link_round_trip(health), std::nullopt);
  EXPECT_EQ(state_of(health).heartbeat_ms, std::nullopt);
  health.last.set_link_us(300);
  health.last.set_memory_bytes(5);
  health.round_trip = milliseconds(2);
  EXPECT_DOUBLE_EQ(*one_way_ms(link_round_trip(health)), 0.15);
  EXPECT_DOUBLE_EQ(*state_of(health).heartbeat_ms, 2);
  EXPECT_EQ(state_of(health).resident_bytes, 5U);
  health.last.set_link_us(~std::uint64_t{0});
  EXPECT_EQ(link_round_trip(health), std::nullopt);
}

}  // namespace
}  // namespace tandem::cluster
