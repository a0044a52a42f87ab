#include "cli/bench_contexts.h"

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench_run.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/limits.h"
#include "cli/report.h"
#include "cli/statistics.h"
#include "cli/values.h"

namespace tandem::cli {
namespace {

/// Read once between two runs: long enough for a figure, short enough to be of the same moment.
constexpr std::size_t kReadBytes = 256U << 20;
constexpr int kReadRepeats = 3;

/// What the rounds gave for one context.
struct Measured {
  int tokens = 0;
  std::vector<double> short_tps{};  // decode after a short prompt, just before
  std::vector<double> tps{};        // after the context
  std::vector<double> cost{};       // 1 - tps / short_tps
  std::vector<double> read{};       // bytes per second, just after
};

Result<double> decode_tps(const BenchOptions& options, Session& session, int tokens,
                          const Interrupt& interrupt) {
  const std::int32_t vocabulary = session.pipeline().ranks().front().stage.vocabulary;
  const BenchRun run{tokens, options.generate, 1, static_cast<std::uint64_t>(tokens)};
  auto speed = run_once(session.engine(), run, vocabulary, interrupt);
  if (!speed) return speed.error();
  return speed->decode_tps;
}

Status measure_round(const BenchOptions& options, Session& session, int threads,
                     const Interrupt& interrupt, std::vector<Measured>& all) {
  for (Measured& context : all) {
    const auto before = decode_tps(options, session, limits::kBenchContextShort, interrupt);
    if (!before) return before.error();
    const auto after = decode_tps(options, session, context.tokens, interrupt);
    if (!after) return after.error();
    context.short_tps.push_back(*before);
    context.tps.push_back(*after);
    context.cost.push_back(1 - *after / *before);
    if (threads == 0) continue;
    const auto rates = read_rates(kReadBytes, threads, kReadRepeats);
    if (!rates) return rates.error();
    if (!rates->empty()) context.read.push_back(spread_of(*rates).median);
  }
  return {};
}

nlohmann::ordered_json report_json(const BenchOptions& options, const std::vector<Measured>& all,
                                   const std::vector<RankInfo>& ranks) {
  nlohmann::ordered_json contexts = nlohmann::ordered_json::array();
  for (const Measured& context : all) {
    contexts.push_back({{"tokens", context.tokens},
                        {"short_decode_tps", spread_json(spread_of(context.short_tps))},
                        {"decode_tps", spread_json(spread_of(context.tps))},
                        {"cost", spread_json(spread_of(context.cost))},
                        {"read_bytes_per_second", nullptr}});
    if (!context.read.empty()) {
      contexts.back()["read_bytes_per_second"] = spread_json(spread_of(context.read));
    }
  }
  std::uint64_t kv = 0;
  for (const RankInfo& rank : ranks) kv += rank.stage.kv_bytes_per_token;
  return {{"generate_tokens", options.generate},
          {"repeats", options.repeats},
          {"short_tokens", limits::kBenchContextShort},
          {"kv_bytes_per_token", kv},
          {"contexts", contexts},
          {"ranks", ranks_json(ranks)}};
}

std::string report_text(const std::vector<Measured>& all) {
  std::string out;
  for (const Measured& context : all) {
    const Spread tps = spread_of(context.tps);
    const Spread cost = spread_of(context.cost);
    out += fmt::format(
        "after {:>6} tokens: {:9.2f} tok/s  ({:.2f} to {:.2f}); after {} {:.2f}; "
        "cost {:.1f} %  ({:.1f} to {:.1f})",
        context.tokens, tps.median, tps.min, tps.max, limits::kBenchContextShort,
        spread_of(context.short_tps).median, 100 * cost.median, 100 * cost.min, 100 * cost.max);
    if (!context.read.empty()) {
      out += fmt::format("; memory read {}/s", format_bytes(spread_of(context.read).median));
    }
    out += "\n";
  }
  return out;
}

}  // namespace

Status bench_contexts(const BenchOptions& options, Session& session, int threads,
                      Console& console) {
  const Interrupt interrupt;
  std::vector<Measured> all;
  for (const int tokens : options.contexts) all.push_back({.tokens = tokens});
  for (int round = 0; round <= options.repeats; ++round) {
    if (round == 1) {  // the first computes the prompts and touches cold weights
      for (Measured& context : all) context = {.tokens = context.tokens};
    }
    const Status status = measure_round(options, session, threads, interrupt, all);
    if (!status.ok()) return status;
  }
  if (!options.json) return console.write(report_text(all));
  return console.write(json_text(report_json(options, all, session.pipeline().ranks())) + "\n");
}

}  // namespace tandem::cli
