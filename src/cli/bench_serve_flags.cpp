// The flags of `tandem bench serve`.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "cli/flags.h"
#include "cli/limits.h"
#include "cli/values.h"

namespace tandem::cli {
namespace {

/// "1,4,16" -> streams.
Status read_levels(const std::string& text, std::vector<int>& levels) {
  auto streams = parse_ids(text);
  if (!streams) return streams.error();
  if (streams->size() > limits::kBenchLevelsMax) {
    return invalid(fmt::format("must list at most {} numbers", limits::kBenchLevelsMax));
  }
  for (const std::int32_t count : *streams) {
    if (count < 1 || count > limits::kBenchStreamsMax) {
      return invalid(
          fmt::format("must be of [1, {}] streams, not {}", limits::kBenchStreamsMax, count));
    }
  }
  levels.assign(streams->begin(), streams->end());
  return {};
}

void add_workload_flags(CLI::App& sub, BenchServeOptions& options) {
  client::Workload& workload = options.workload;
  choice_flag<client::Endpoint>(
      sub, "--endpoint", "API that is asked [completions]",
      {{"completions", client::Endpoint::kCompletions}, {"chat", client::Endpoint::kChat}},
      [&workload](client::Endpoint endpoint) { workload.endpoint = endpoint; });
  choice_flag<client::PromptKind>(
      sub, "--prompts", "Random prompts as text, or as token ids [words]",
      {{"words", client::PromptKind::kWords}, {"ids", client::PromptKind::kIds}},
      [&workload](client::PromptKind kind) { workload.prompts = kind; });
  integer_flag(sub, "--vocabulary", options.vocabulary, 0, std::numeric_limits<std::int32_t>::max(),
               "Ids of prompts are below this; 0: what the server says");
  integer_flag(sub, "--prompt-tokens,-p", workload.prompt_tokens, 1, limits::kBenchTokensMax,
               "Tokens of each prompt");
  integer_flag(sub, "--max-tokens,-n", workload.max_tokens, 1, limits::kBenchTokensMax,
               "Tokens of each answer");
  value_flag(sub, "--temp", "Temperature", [&workload](const std::string& text) -> Status {
    auto value = parse_real(text, 0, 2);
    if (!value) return value.error();
    workload.temperature = *value;
    return {};
  })->type_name("X [0]");
  sub.add_flag_callback(
         "--stop-at-eos", [&workload] { workload.ignore_eos = false; },
         "Leave ignore_eos out: answers may end early")
      ->disable_flag_override();
  seed_flag(sub, options.seed, "Of the prompts; absent: another one each time");
}

void add_server_flags(CLI::App& sub, BenchServeOptions& options) {
  value_flag(sub, "URL,--url", "http[s]://HOST:PORT, with or without /v1",
             [&options](const std::string& text) -> Status {
               auto url = client::parse_url(text);
               if (!url) return url.error();
               options.url = *url;
               return {};
             })
      ->type_name("")
      ->required();
  value_flag(sub, "--model", "As the server calls it; absent: its first",
             [&options](const std::string& text) -> Status {
               if (text.empty() || !is_utf8(text)) return invalid("must be a name in UTF-8");
               options.workload.model = text;
               return {};
             })
      ->type_name("NAME");
  sub.add_option("--api-key", options.api_key, "Sent as a bearer token")->type_name("KEY");
  sub.add_option("--api-key-file", options.api_key_file, "File whose first line is that key")
      ->type_name("FILE");
  sub.add_option("--tls-ca", options.tls_ca, "Certificates (PEM) that https servers are held to")
      ->type_name("FILE [the system's]");
  integer_flag(sub, "--timeout", options.timeout_seconds, 1, limits::kBenchSecondsMax,
               "Seconds that one request may take");
}

}  // namespace

void add_bench_serve(CLI::App& bench, BenchServeOptions& options) {
  CLI::App& sub = *add_command(
      bench, "serve", "Throughput and delays of a server that speaks OpenAI's API",
      "  tandem bench serve http://127.0.0.1:8080\n"
      "  tandem bench serve http://127.0.0.1:8080/v1 --concurrency 1,16 -p 512 -n 128 --json\n"
      "  tandem bench serve https://host --api-key-file key --endpoint chat --seconds 60");
  add_server_flags(sub, options);
  value_flag(sub, "--concurrency", "Streams at once, one level after the other",
             [&options](const std::string& text) { return read_levels(text, options.concurrency); })
      ->type_name("LIST [1,4,16,64]");
  integer_flag(sub, "--requests", options.requests, 0, limits::kBenchRequestsMax,
               fmt::format("Of each level; 0: {} a stream, or as --seconds allows",
                           limits::kBenchRequestsPerStream));
  integer_flag(sub, "--seconds", options.seconds, 0, limits::kBenchSecondsMax,
               "After which a level starts no request; 0: no such end");
  add_workload_flags(sub, options);
  sub.add_flag("--json", options.json, "Print one JSON object")->disable_flag_override();
}

}  // namespace tandem::cli
