// `tandem bench MODEL`: prompt and decode speed, and what the memory would allow.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/memory_bandwidth.h"
#include "base/platform.h"
#include "cli/commands.h"
#include "cli/gpu.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/model_folder.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/statistics.h"
#include "cli/values.h"

namespace tandem::cli {
namespace {

/// Memory that the bandwidth is measured on; more than any cache of today, less than hurts.
constexpr std::size_t kBandwidthBytes = 512U << 20;

struct Speed {
  double prompt_tps = 0;
  double decode_tps = 0;  // 0: each request drew one token only
};

std::vector<std::int32_t> random_prompt(std::mt19937_64& random, int tokens,
                                        std::int32_t vocabulary) {
  std::uniform_int_distribution<std::int32_t> pick(0, vocabulary - 1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
  for (std::int32_t& id : ids) id = pick(random);
  return ids;
}

/// All requests start together. Prompt time ends when each has its first token; what is drawn after
/// that is decode.
Result<Speed> run_once(scheduler::Engine& engine, const BenchOptions& options,
                       std::int32_t vocabulary, std::uint64_t seed, const Interrupt& interrupt) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < options.concurrency; ++i) {
    scheduler::Request request;
    request.prompt = random_prompt(random, options.prompt, vocabulary);
    request.max_tokens = options.generate;
    if (auto added = engine.add(std::move(request)); !added) return added.error();
  }
  const auto begin = Clock::now();
  auto prefilled = begin;
  std::map<std::uint64_t, int> drawn;
  std::int64_t after_prefill = 0;
  while (engine.busy()) {
    if (interrupt.raised()) return Error{ErrorCode::kCancelled, "interrupted"};
    auto events = engine.step(after(std::chrono::seconds(limits::kTickSecondsMax)));
    if (!events) return events.error();
    const bool all_prefilled = drawn.size() == static_cast<std::size_t>(options.concurrency);
    for (const scheduler::Event& event : *events) {
      if (event.error) return *event.error;
      if (!event.token) continue;
      ++drawn[event.sequence];
      if (all_prefilled) ++after_prefill;
    }
    if (!all_prefilled) prefilled = Clock::now();
  }
  const std::chrono::duration<double> prompt_time = prefilled - begin;
  const std::chrono::duration<double> decode_time = Clock::now() - prefilled;
  Speed speed;
  speed.prompt_tps =
      options.prompt * static_cast<double>(options.concurrency) / prompt_time.count();
  if (after_prefill > 0)
    speed.decode_tps = static_cast<double>(after_prefill) / decode_time.count();
  return speed;
}

/// Everything that is printed.
struct Report {
  Spread prompt;
  Spread decode;
  std::vector<cluster::RankInfo> ranks;
  std::uint64_t bytes_per_token = 0;
  double bandwidth = 0;  // bytes per second of one rank's threads; 0: ranks are on other machines

  double allowed_tps() const {
    return bytes_per_token > 0 ? bandwidth / static_cast<double>(bytes_per_token) : 0;
  }
};

nlohmann::ordered_json report_json(const BenchOptions& options, const Report& report) {
  std::uint64_t memory = 0;
  for (const cluster::RankInfo& rank : report.ranks) memory += rank.memory_bytes;
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
  for (const cluster::RankInfo& rank : report.ranks) memory += rank.memory_bytes;
  out += fmt::format("memory: {}\nweights read for one token: {}\n",
                     format_bytes(static_cast<double>(memory)),
                     format_bytes(static_cast<double>(report.bytes_per_token)));
  if (report.bandwidth > 0) {
    out += fmt::format("memory read: {}/s, which allows {:.2f} tok/s to one sequence\n",
                       format_bytes(report.bandwidth), report.allowed_tps());
  }
  return out;
}

Result<Report> measure(const BenchOptions& options, Session& session) {
  const Interrupt interrupt;
  const std::int32_t vocabulary = session.pipeline().ranks().front().stage.vocabulary;
  std::vector<double> prompt;
  std::vector<double> decode;
  for (int run = 0; run <= options.repeats; ++run) {
    auto speed =
        run_once(session.engine(), options, vocabulary, static_cast<std::uint64_t>(run), interrupt);
    if (!speed) return speed.error();
    if (run == 0) continue;  // touches cold weights and caches
    prompt.push_back(speed->prompt_tps);
    decode.push_back(speed->decode_tps);
  }
  Report report;
  report.prompt = spread_of(std::move(prompt));
  report.decode = spread_of(std::move(decode));
  report.ranks = session.pipeline().ranks();
  for (const cluster::RankInfo& rank : report.ranks) {
    report.bytes_per_token += rank.stage.weight_bytes_per_token;
  }
  return report;
}

}  // namespace

Status run_bench(const BenchOptions& options, const Environment& environment, Console& console) {
  auto folder = find_model(options.model.model, environment);
  if (!folder) return folder.error();
  auto wanted =
      pipeline_options(options.model, *folder, platform::physical_cores(), gpu_available());
  if (!wanted) return wanted.error();
  auto session = Session::open(options.model, *folder, console, options.json);
  if (!session) return session.error();
  auto report = measure(options, *session);
  if (!report) return report.error();
  const bool local_cpus = wanted->hosts.empty() && !wanted->stage.gpu;
  if (local_cpus) {
    const int threads = std::min(wanted->stage.threads, limits::kThreadsMax);
    const auto rates =
        measure_read_bandwidth(kBandwidthBytes, threads, limits::kBenchRepeatsDefault);
    if (!rates) return rates.error();
    report->bandwidth = spread_of(*rates).median;
  }
  if (options.json) return console.write(json_text(report_json(options, *report)) + "\n");
  return console.write(report_text(options, *report));
}

}  // namespace tandem::cli
