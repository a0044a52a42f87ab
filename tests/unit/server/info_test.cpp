#include "server/serving/info.h"

#include <gtest/gtest.h>

#include <chrono>

#include "server/serving/key_slots.h"
#include "server/serving/metrics.h"
#include "server/serving/request_record.h"
#include "server/serving/token_rate.h"

namespace tandem::server {
namespace {

using std::chrono::seconds;

constexpr Clock::time_point kNow{seconds(1000)};

Json body_of(const EngineView& view) { return Json::parse(health(view, kNow, seconds(10)).body); }

TEST(Health, MeansProgressAndNotALivingProcess) {
  EngineView view;
  view.phase = Phase::kReady;
  view.busy = true;
  view.progress = kNow - seconds(9);
  EXPECT_EQ(health(view, kNow, seconds(10)).status, 200);
  view.progress = kNow - seconds(11);
  EXPECT_EQ(health(view, kNow, seconds(10)).status, 503);
  EXPECT_EQ(body_of(view)["status"], "stalled");
  view.busy = false;
  EXPECT_EQ(health(view, kNow, seconds(10)).status, 200) << "idle is no stall";
}

TEST(Health, LoadingTellsHowFarItIs) {
  EngineView view;
  view.loaded_bytes = 30;
  view.total_bytes = 120;
  EXPECT_EQ(health(view, kNow, seconds(10)).status, 503);
  EXPECT_EQ(body_of(view)["status"], "loading");
  EXPECT_EQ(body_of(view)["loaded_bytes"], 30);
  EXPECT_EQ(body_of(view)["error"]["message"], "The model is loading: 25 %.");
}

TEST(Health, ADeadPipelineSaysWhy) {
  EngineView view;
  view.phase = Phase::kDead;
  view.reason = "rank 1 was killed";
  EXPECT_EQ(body_of(view)["status"], "dead");
  EXPECT_EQ(body_of(view)["error"]["message"], "rank 1 was killed");
}

TEST(TokenRate, CountsTheLastFiveSecondsOnly) {
  TokenRate rate;
  EXPECT_EQ(rate.decode(), 0);
  for (int i = 0; i <= 20; ++i) {
    rate.note(kNow + seconds(i), static_cast<std::uint64_t>(i < 10 ? 0 : (i - 10) * 100), 7);
  }
  EXPECT_DOUBLE_EQ(rate.prompt(), 100);
  EXPECT_DOUBLE_EQ(rate.decode(), 0);
}

TEST(KeySlots, AreFreeAgainWhenTheirHolderGoes) {
  KeySlots slots(2);
  auto first = slots.take(1);
  const auto second = slots.take(1);
  EXPECT_TRUE(first && second);
  EXPECT_EQ(slots.take(1), nullptr);
  EXPECT_NE(slots.take(2), nullptr) << "of another key";
  first.reset();
  EXPECT_NE(slots.take(1), nullptr);
  KeySlots unlimited(0);
  EXPECT_NE(unlimited.take(-1), nullptr);
}

TEST(RequestLog, StrangersCannotForgeLines) {
  RequestRecord record;
  record.method = "GET";
  record.path = "/a\n2026 forged \x1b[31m";
  record.peer = "::1";
  record.error = "line\nbreak";
  const std::string text = log_text(record, "T");
  EXPECT_EQ(text.find_first_of("\n\x1b"), std::string::npos) << text;
  EXPECT_EQ(log_json(record, "T").find('\n'), std::string::npos);
}

TEST(MetricsText, BucketsAddUp) {
  Metrics metrics;
  metrics.token_gap(0.004);
  metrics.token_gap(0.02);
  metrics.token_gap(100);
  RequestRecord record;
  record.status = 200;
  record.prompt_tokens = 4;
  record.queue_ms = 3;
  record.finish = "stop";
  metrics.request(record, "/v1/completions");
  EngineView view;
  view.stats.kv_tokens_idle = 7;
  const std::string text = metrics.text(view, {.requests = 5, .evicted = 2});
  for (const char* line :
       {"tandem_kv_tokens_idle 7", "tandem_http_requests_total 5",
        "tandem_http_connections_evicted_total 2", "tandem_queue_seconds_bucket{le=\"0.0025\"} 0",
        "tandem_queue_seconds_bucket{le=\"0.005\"} 1",
        "tandem_finished_total{reason=\"stop\"} 1"}) {
    EXPECT_NE(text.find(std::string(line) + "\n"), std::string::npos) << line;
  }
  EXPECT_NE(text.find("tandem_token_gap_seconds_bucket{le=\"0.005\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("tandem_token_gap_seconds_bucket{le=\"60\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("tandem_token_gap_seconds_bucket{le=\"+Inf\"} 3\n"), std::string::npos);
  EXPECT_NE(text.find("tandem_token_gap_seconds_count 3\n"), std::string::npos);
  EXPECT_NE(text.find("tandem_requests_total{route=\"/v1/completions\",status=\"200\"} 1\n"),
            std::string::npos);
}

}  // namespace
}  // namespace tandem::server
