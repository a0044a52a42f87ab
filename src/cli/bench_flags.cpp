// The flags of `tandem bench` and what is under it.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/flags.h"
#include "cli/limits.h"
#include "cli/values.h"
#include "cluster/gateway/link_bench.h"
#include "tandem/limits.h"

namespace tandem::cli {
namespace {

/// "128,14464" -> bytes.
Status read_payloads(const std::string& text, std::vector<std::uint64_t>& payloads) {
  auto sizes = parse_ids(text);
  if (!sizes) return sizes.error();
  if (sizes->size() > limits::kBenchPayloadsMax) {
    return invalid(fmt::format("must list at most {} sizes", limits::kBenchPayloadsMax));
  }
  payloads.clear();
  for (const std::int32_t bytes : *sizes) {
    if (static_cast<std::uint64_t>(bytes) > cluster::kMaxLinkPayload) {
      return invalid(
          fmt::format("a frame has at most {} bytes, not {}", cluster::kMaxLinkPayload, bytes));
    }
    payloads.push_back(static_cast<std::uint64_t>(bytes));
  }
  return {};
}

/// "1024,8192" -> tokens.
Status read_contexts(const std::string& text, std::vector<int>& contexts) {
  auto sizes = parse_ids(text);
  if (!sizes) return sizes.error();
  if (sizes->empty() || sizes->size() > limits::kBenchContextsMax) {
    return invalid(fmt::format("must list 1 to {} sizes", limits::kBenchContextsMax));
  }
  for (const std::int32_t tokens : *sizes) {
    if (tokens < 1 || tokens > limits::kBenchTokensMax) {
      return invalid(
          fmt::format("a context has 1 to {} tokens, not {}", limits::kBenchTokensMax, tokens));
    }
  }
  contexts.assign(sizes->begin(), sizes->end());
  return {};
}

void add_bench_memory(CLI::App& app, BenchMemoryOptions& options) {
  CLI::App& sub =
      *add_command(app, "memory", "This machine's read bandwidth", "  tandem bench memory");
  integer_flag(sub, "--threads", options.threads, 0, kMaxThreads,
               "Threads that read; 0: one, and physical cores");
  integer_flag(sub, "--megabytes", options.megabytes, 64, limits::kBenchMegabytesMax,
               "Size of the memory that is read");
  integer_flag(sub, "--repeats,-r", options.repeats, 1, limits::kBenchRepeatsMax, "Measured runs");
  sub.add_flag("--json", options.json, "Print one JSON object")->disable_flag_override();
}

void add_bench_link(CLI::App& app, BenchLinkOptions& options) {
  CLI::App& sub =
      *add_command(app, "link", "Delay and throughput of frames between two ranks, here",
                   "  tandem bench link\n"
                   "  tandem bench link --tls --payloads 14464 --json");
  add_transport_flags(sub, options.transport, options.mlx_backend);
  value_flag(sub, "--payloads", "Frame sizes, bytes", [&options](const std::string& text) {
    return read_payloads(text, options.payloads);
  })->type_name("LIST [128,14464,262144,16777216]");
  integer_flag(sub, "--round-trips", options.round_trips, 1, limits::kBenchRoundTripsMax,
               "Of each frame size, for at most 5 seconds");
  sub.add_flag("--tls", options.tls, "Mutual TLS, with certificates made for the run")
      ->disable_flag_override();
  sub.add_flag("--key", options.key, "A cluster key made for the run")->disable_flag_override();
  sub.add_flag("--json", options.json, "Print one JSON object")->disable_flag_override();
}

}  // namespace

CLI::App* add_bench_commands(CLI::App& app, BenchOptions& options, BenchMemoryOptions& memory,
                             BenchLinkOptions& link) {
  CLI::App& sub =
      *add_command(app, "bench", "Prompt and decode speed of a model, or of the machine",
                   "  tandem bench MODEL -p 512 -n 128 -r 5 --ranks 2 --threads 1 --json\n"
                   "  tandem bench MODEL --contexts 1024,8192 -n 32\n"
                   "  tandem bench memory\n"
                   "  tandem bench link --tls\n"
                   "  tandem bench serve http://127.0.0.1:8080");
  add_model_flags(sub, options.model);
  integer_flag(sub, "--prompt-tokens,-p", options.prompt, 1, limits::kBenchTokensMax,
               "Random prompt tokens of each request");
  integer_flag(sub, "--generate-tokens,-n", options.generate, 1, limits::kBenchTokensMax,
               "Tokens that each request generates");
  integer_flag(sub, "--repeats,-r", options.repeats, 1, limits::kBenchRepeatsMax,
               "Measured runs, after one that is not");
  integer_flag(sub, "--concurrency", options.concurrency, 1, limits::kBenchConcurrencyMax,
               "Requests at once");
  value_flag(sub, "--contexts", "Decode after so many tokens, beside decode after few",
             [&options](const std::string& text) { return read_contexts(text, options.contexts); })
      ->type_name("LIST");
  sub.add_flag("--json", options.json, "Print one JSON object")->disable_flag_override();

  add_bench_memory(sub, memory);
  add_bench_link(sub, link);
  return &sub;
}

}  // namespace tandem::cli
