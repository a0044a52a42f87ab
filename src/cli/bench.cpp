// `tandem bench MODEL`: prompt and decode speed, and what the memory would allow.

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/platform.h"
#include "cli/bench_contexts.h"
#include "cli/bench_run.h"
#include "cli/commands.h"
#include "cli/gpu.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/model_folder.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/statistics.h"
#include "cli/values.h"
#include "tandem/limits.h"

namespace tandem::cli {
namespace {

/// Most memory that the bandwidth is measured on; more than any cache of today, less than hurts.
constexpr std::size_t kBandwidthBytes = 512U << 20;

/// Everything that is printed.
struct Report {
  Spread prompt;
  Spread decode;
  std::vector<RankInfo> ranks;
  std::uint64_t bytes_per_token = 0;
  double bandwidth = 0;  // bytes per second of one rank's threads; 0: not measured

  double allowed_tps() const {
    return bytes_per_token > 0 ? bandwidth / static_cast<double>(bytes_per_token) : 0;
  }
};

nlohmann::ordered_json report_json(const BenchOptions& options, const Report& report) {
  std::uint64_t memory = 0;
  for (const RankInfo& rank : report.ranks) memory += rank.memory_bytes;
  nlohmann::ordered_json out{{"prompt_tokens", options.prompt},
                             {"generate_tokens", options.generate},
                             {"repeats", options.repeats},
                             {"concurrency", options.concurrency},
                             {"prompt_tps", spread_json(report.prompt)},
                             {"decode_tps", nullptr},
                             {"memory_bytes", memory},
                             {"weight_bytes_per_token", report.bytes_per_token},
                             {"read_bytes_per_second", nullptr},
                             {"bandwidth_tps", nullptr},
                             {"ranks", ranks_json(report.ranks)}};
  if (report.decode.median > 0) out["decode_tps"] = spread_json(report.decode);
  if (report.bandwidth > 0) {
    out["read_bytes_per_second"] = report.bandwidth;
    out["bandwidth_tps"] = report.allowed_tps();
  }
  return out;
}

std::string report_text(const BenchOptions& options, const Report& report) {
  const auto line = [](const char* what, int tokens, const Spread& speed) {
    return fmt::format("{} {:>6} tokens: {:9.2f} tok/s  ({:.2f} to {:.2f})\n", what, tokens,
                       speed.median, speed.min, speed.max);
  };
  std::string out = line("prompt", options.prompt, report.prompt);
  if (report.decode.median > 0) out += line("decode", options.generate, report.decode);
  std::uint64_t memory = 0;
  for (const RankInfo& rank : report.ranks) memory += rank.memory_bytes;
  out += fmt::format("memory: {}\nweights read for one token: {}\n",
                     format_bytes(static_cast<double>(memory)),
                     format_bytes(static_cast<double>(report.bytes_per_token)));
  if (report.bandwidth > 0) {
    out += fmt::format("memory read: {}/s, which allows {:.2f} tok/s to one sequence\n",
                       format_bytes(report.bandwidth), report.allowed_tps());
  }
  return out;
}

/// `threads` of one rank read memory after each run, in the same seconds as it: the fastest pass of
/// all is what the memory allows. 0: ranks are not on this machine's CPU.
Result<Report> measure(const BenchOptions& options, Session& session, int threads) {
  const Interrupt interrupt;
  const std::int32_t vocabulary = session.pipeline().ranks().front().stage.vocabulary;
  std::vector<double> prompt;
  std::vector<double> decode;
  double bandwidth = 0;
  for (int run = 0; run <= options.repeats; ++run) {
    const BenchRun wanted{options.prompt, options.generate, options.concurrency,
                          static_cast<std::uint64_t>(run)};
    auto speed = run_once(session.engine(), wanted, vocabulary, interrupt);
    if (!speed) return speed.error();
    if (run == 0) continue;  // touches cold weights and caches
    prompt.push_back(speed->prompt_tps);
    decode.push_back(speed->decode_tps);
    if (threads == 0) continue;
    const auto rates = read_rates(kBandwidthBytes, threads, 1);
    if (!rates) return rates.error();
    for (const double rate : *rates) bandwidth = std::max(bandwidth, rate);
  }
  Report report;
  report.bandwidth = bandwidth;
  report.prompt = spread_of(std::move(prompt));
  report.decode = spread_of(std::move(decode));
  report.ranks = session.pipeline().ranks();
  for (const RankInfo& rank : report.ranks) {
    report.bytes_per_token += rank.stage.weight_bytes_per_token;
  }
  return report;
}

}  // namespace

Status run_bench(const BenchOptions& options, const Environment& environment, Console& console) {
  auto folder = find_model(options.model.model, environment);
  if (!folder) return folder.error();
  auto wanted =
      pipeline_options(options.model, *folder, platform::physical_cores(), gpu_available(*folder));
  if (!wanted) return wanted.error();
  auto session = Session::open(options.model, *folder, console, options.json);
  if (!session) return session.error();
  const bool local_cpus = wanted->hosts.empty() && !wanted->stage.gpu;
  const int threads = local_cpus ? std::min(wanted->stage.threads, kMaxThreads) : 0;
  if (!options.contexts.empty()) return bench_contexts(options, *session, threads, console);
  auto report = measure(options, *session, threads);
  if (!report) return report.error();
  if (options.json) return console.write(json_text(report_json(options, *report)) + "\n");
  return console.write(report_text(options, *report));
}

}  // namespace tandem::cli
