#include "cluster/gateway/link_bench.h"

#include <gtest/gtest.h>

#include <string>

#include "cluster/trust/throwaway_credentials.h"

namespace tandem::cluster {
namespace {

LinkOptions small(const std::string& transport) {
  LinkOptions options;
  options.executable = TANDEM_LINK_PEER;
  options.transport = transport;
  options.payloads = {0, 14464, 3000000};
  options.round_trips = 20;
  return options;
}

void expect_sane(const Result<LinkReport>& report) {
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_EQ(report->payloads.size(), 3u);
  EXPECT_EQ(report->payloads[1].bytes, 14464u);
  for (const LinkPayload& payload : report->payloads) {
    EXPECT_GE(payload.round_trips, 1);
    EXPECT_GT(payload.one_way_us, 1);
    EXPECT_GE(payload.one_way_p99_us, payload.one_way_us);
  }
  EXPECT_GT(report->payloads[2].bytes_per_second, 1e6);
}

TEST(LinkBench, MeasuresBothTransports) {
  expect_sane(bench_link(small("grpc")));
  expect_sane(bench_link(small("mlx")));
}

TEST(LinkBench, MeasuresTlsWithAKey) {
  LinkOptions options = small("grpc");
  options.credentials = make_throwaway_credentials();
  options.credentials.key = "0123456789abcdef";
  const auto report = bench_link(options);
  expect_sane(report);
  EXPECT_TRUE(report->tls && report->key);
}

TEST(LinkBench, RefusesWhatItCannotMeasure) {
  LinkOptions options = small("grpc");
  options.round_trips = 0;
  EXPECT_EQ(bench_link(options).error().code, ErrorCode::kInvalidArgument);
  options = small("grpc");
  options.payloads = {kMaxLinkPayload + 1};
  EXPECT_EQ(bench_link(options).error().code, ErrorCode::kInvalidArgument);
  options = small("smoke signals");
  EXPECT_FALSE(bench_link(options).ok());
  options = small("grpc");
  options.executable = "/does/not/exist";
  EXPECT_FALSE(bench_link(options).ok());
}

}  // namespace
}  // namespace tandem::cluster
