// `tandem bench link`: how fast frames move between two ranks on this machine.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/platform.h"
#include "cli/commands.h"
#include "cli/json_output.h"
#include "cli/values.h"
#include "cluster/gateway/link_bench.h"
#include "cluster/trust/credentials.h"
#include "cluster/trust/throwaway_credentials.h"

namespace tandem::cli {
namespace {

nlohmann::ordered_json report_json(const cluster::LinkReport& report) {
  nlohmann::ordered_json payloads = nlohmann::ordered_json::array();
  for (const cluster::LinkPayload& payload : report.payloads) {
    payloads.push_back({{"bytes", payload.bytes},
                        {"round_trips", payload.round_trips},
                        {"one_way_us", payload.one_way_us},
                        {"one_way_p99_us", payload.one_way_p99_us},
                        {"bytes_per_second", payload.bytes_per_second}});
  }
  return {{"transport", report.transport},
          {"tls", report.tls},
          {"key", report.key},
          {"payloads", payloads}};
}

std::string report_text(const cluster::LinkReport& report) {
  std::string out = fmt::format("{}{}{}\n{:>10} {:>14} {:>14} {:>14}\n", report.transport,
                                report.tls ? " with TLS" : "", report.key ? " with a key" : "",
                                "frame", "one way", "99 % under", "throughput");
  for (const cluster::LinkPayload& payload : report.payloads) {
    out += fmt::format("{:>10} {:>11.1f} us {:>11.1f} us {:>12}/s\n",
                       format_bytes(static_cast<double>(payload.bytes)), payload.one_way_us,
                       payload.one_way_p99_us, format_bytes(payload.bytes_per_second));
  }
  return out;
}

}  // namespace

Status run_bench_link(const BenchLinkOptions& options, Console& console) {
  auto executable = platform::executable_path();
  if (!executable) return executable.error();
  cluster::LinkOptions link;
  link.executable = executable->string();
  link.transport = options.transport == cluster::TransportKind::kMlx ? "mlx" : "grpc";
  link.mlx_backend = options.mlx_backend;
  link.round_trips = options.round_trips;
  if (!options.payloads.empty()) link.payloads = options.payloads;
  if (options.tls) link.credentials = cluster::make_throwaway_credentials();
  link.credentials.key = options.key ? cluster::make_nonce() : std::string();
  auto report = cluster::bench_link(link);
  if (!report) return report.error();
  return console.write(options.json ? json_text(report_json(*report)) + "\n"
                                    : report_text(*report));
}

}  // namespace tandem::cli
