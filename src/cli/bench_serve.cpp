// `tandem bench serve`: what a server does under a number of streams.

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <ctime>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/key_file.h"
#include "client/load_client.h"

namespace tandem::cli {
namespace {

/// A level, and processor time that the client itself took for it, seconds.
struct Measured {
  client::LevelReport report;
  double client_cpu = 0;
};

/// Standard: of all threads of this process.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

nlohmann::ordered_json milliseconds_json(const client::Distribution& times) {
  return {{"mean", 1e3 * times.mean}, {"p50", 1e3 * times.p50}, {"p90", 1e3 * times.p90},
          {"p95", 1e3 * times.p95},   {"p99", 1e3 * times.p99}, {"max", 1e3 * times.max}};
}

nlohmann::ordered_json level_json(const Measured& level) {
  const client::LevelReport& report = level.report;
  nlohmann::ordered_json out{{"concurrency", report.streams},
                             {"seconds", report.seconds},
                             {"completed", report.completed},
                             {"failed", report.failed},
                             {"first_error", nullptr},
                             {"prompt_tokens", report.prompt_tokens},
                             {"cached_tokens", report.cached_tokens},
                             {"output_tokens", report.output_tokens},
                             {"requests_per_second", report.requests_per_second},
                             {"output_tps", report.output_tps},
                             {"total_tps", report.total_tps},
                             {"ttft_ms", milliseconds_json(report.ttft)},
                             {"itl_ms", milliseconds_json(report.itl)},
                             {"tpot_ms", milliseconds_json(report.tpot)},
                             {"latency_ms", milliseconds_json(report.latency)},
                             {"client_cpu_seconds", level.client_cpu}};
  if (report.failed > 0) out["first_error"] = report.first_error;
  return out;
}

std::string heading(const BenchServeOptions& options, const client::Workload& workload,
                    bool server_counts) {
  return fmt::format(
      "{}, model {}: {} of {} tokens, answers of {}{}\n"
      "{:>7} {:>8} {:>6} {:>7} {:>10} {:>10} {:>17} {:>15} {:>15}\n"
      "{:>7} {:>8} {:>6} {:>7} {:>10} {:>10} {:>17} {:>15} {:>15}\n",
      options.url.text(), workload.model,
      workload.prompts == client::PromptKind::kIds ? "random ids" : "random words",
      workload.prompt_tokens, workload.max_tokens,
      server_counts ? "" : "; the server counts no tokens: words and pieces are counted", "streams",
      "requests", "failed", "req/s", "output", "total", "TTFT ms", "ITL ms", "latency s", "", "",
      "", "", "tok/s", "tok/s", "p50      p99", "p50     p99", "p50     p99");
}

std::string line(const client::LevelReport& report) {
  std::string out = fmt::format(
      "{:>7} {:>8} {:>6} {:>7.2f} {:>10.1f} {:>10.1f} {:>8.1f} {:>8.1f} {:>7.2f} {:>7.2f} "
      "{:>7.2f} {:>7.2f}\n",
      report.streams, report.completed, report.failed, report.requests_per_second,
      report.output_tps, report.total_tps, 1e3 * report.ttft.p50, 1e3 * report.ttft.p99,
      1e3 * report.itl.p50, 1e3 * report.itl.p99, report.latency.p50, report.latency.p99);
  if (report.failed > 0) out += fmt::format("        failed: {}\n", report.first_error);
  return out;
}

/// What all levels have in common.
nlohmann::ordered_json workload_json(const BenchServeOptions& options,
                                     const client::Workload& workload, std::uint64_t seed,
                                     bool server_counts) {
  const bool chat = workload.endpoint == client::Endpoint::kChat;
  const bool ids = workload.prompts == client::PromptKind::kIds;
  return {{"url", options.url.text()},
          {"model", workload.model},
          {"endpoint", chat ? "chat" : "completions"},
          {"prompts", ids ? "ids" : "words"},
          {"prompt_tokens", workload.prompt_tokens},
          {"max_tokens", workload.max_tokens},
          {"seed", seed},
          {"tokens_counted_by", server_counts ? "server" : "client"}};
}

Result<std::string> api_key(const BenchServeOptions& options) {
  if (options.api_key_file.empty()) return options.api_key;
  auto keys = read_key_file(options.api_key_file);
  if (!keys) return keys.error();
  return keys->front();
}

Error at_server(const BenchServeOptions& options, const std::string& path, const Error& error) {
  if (error.code == ErrorCode::kCancelled) return error;
  return {error.code, fmt::format("{}{}: {}", options.url.text(), path, error.message)};
}

/// Model and vocabulary, as far as they are not given, and a first request.
Status get_ready(const BenchServeOptions& options, client::Workload& workload,
                 client::LoadClient& client) {
  const bool ids = workload.prompts == client::PromptKind::kIds;
  std::int32_t vocabulary = options.vocabulary;
  if (workload.model.empty() || (ids && vocabulary == 0)) {
    auto model = client.ask_model();
    if (!model) return at_server(options, "/models", model.error());
    if (workload.model.empty()) workload.model = model->id;
    if (vocabulary == 0) vocabulary = model->vocabulary;
  }
  if (ids && vocabulary == 0) {
    return invalid("--vocabulary: is needed, because the server does not say how large it is");
  }
  client.set_model(workload.model);
  client.set_vocabulary(vocabulary);
  auto status = client.warm_up();
  if (!status.ok()) return at_server(options, client::path_of(workload.endpoint), status.error());
  return {};
}

std::vector<client::Level> levels_of(const BenchServeOptions& options) {
  std::vector<int> streams = options.concurrency;
  if (streams.empty()) {
    streams.assign(std::begin(limits::kBenchStreamsDefault),
                   std::end(limits::kBenchStreamsDefault));
  }
  std::vector<client::Level> levels;
  for (const int count : streams) {
    client::Level level{count, static_cast<std::uint64_t>(options.requests),
                        std::chrono::seconds(options.seconds)};
    const bool endless = options.requests == 0 && options.seconds == 0;
    if (endless)
      level.requests = static_cast<std::uint64_t>(count) * limits::kBenchRequestsPerStream;
    levels.push_back(level);
  }
  return levels;
}

std::uint64_t any_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

Result<Measured> measure(const BenchServeOptions& options, client::LoadClient& client,
                         const client::Level& level) {
  const double before = cpu_seconds();
  auto report = client.run(level);
  if (!report) return report.error();
  if (report->completed == 0) {
    return at_server(options, "",
                     {ErrorCode::kUnavailable, fmt::format("all requests of {} streams failed: {}",
                                                           level.streams, report->first_error)});
  }
  return Measured{std::move(*report), cpu_seconds() - before};
}

Status measure_levels(const BenchServeOptions& options, client::Workload& workload,
                      std::uint64_t seed, client::LoadClient& client, Console& console) {
  if (auto status = get_ready(options, workload, client); !status.ok()) return status;
  const bool counts = client.server_counts();
  nlohmann::ordered_json out = workload_json(options, workload, seed, counts);
  out["levels"] = nlohmann::ordered_json::array();
  if (!options.json) {
    auto status = console.write(heading(options, workload, counts));
    if (!status.ok()) return status;
  }
  for (const client::Level& level : levels_of(options)) {
    auto measured = measure(options, client, level);
    if (!measured) return measured.error();
    out["levels"].push_back(level_json(*measured));
    if (options.json) continue;
    if (auto status = console.write(line(measured->report)); !status.ok()) return status;
  }
  return options.json ? console.write(json_text(out) + "\n") : Status();
}

}  // namespace

Status run_bench_serve(const BenchServeOptions& options, Console& console) {
  auto key = api_key(options);
  if (!key) return key.error();
  const Interrupt interrupt;
  auto server = client::find_server(options.url, std::move(*key), options.tls_ca);
  if (!server) return at_server(options, "", server.error());
  client::Workload workload = options.workload;
  const std::uint64_t seed = options.seed ? *options.seed : any_seed();
  client::LoadClient client(*server, {workload, seed, std::chrono::seconds(options.timeout_seconds),
                                      [&interrupt] { return interrupt.raised(); }});
  return measure_levels(options, workload, seed, client, console);
}

}  // namespace tandem::cli
