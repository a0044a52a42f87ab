#include "server/serving/rank_metrics.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>

namespace tandem::server {
namespace {

using Ranks = std::vector<RankInfo>;

/// One figure of every rank that has it. `value` gives an optional.
void rank_sample(std::string& out, const Ranks& ranks, std::string_view name, std::string_view help,
                 std::string_view type, const auto& value) {
  append_metric_head(out, name, help, type);
  for (const RankInfo& rank : ranks) {
    const auto figure = value(rank);
    if (!figure) continue;
    std::string host = rank.host;
    std::erase_if(host, [](char c) { return c == '"' || c == '\\' || c == '\n'; });
    out += fmt::format("{}{{rank=\"{}\",host=\"{}\"}} {}\n", name, rank.rank, host, *figure);
  }
}

std::optional<double> seconds_of(std::optional<double> milliseconds) {
  if (!milliseconds) return std::nullopt;
  return *milliseconds / 1000;
}

void rank_gauges(std::string& out, const Ranks& ranks) {
  const auto gauge = [&](const char* name, const char* help, const auto& value) {
    rank_sample(out, ranks, name, help, "gauge",
                [&](const RankInfo& rank) { return value(rank.state); });
  };
  using State = RankState;
  gauge("tandem_rank_memory_bytes", "Resident bytes of a rank's process.",
        [](const State& state) { return std::optional(state.resident_bytes); });
  gauge("tandem_rank_memory_free_bytes", "Bytes that a rank's machine has free.",
        [](const State& state) { return std::optional(state.memory_free_bytes); });
  gauge("tandem_rank_kv_bytes", "Bytes that a rank holds for contexts.",
        [](const State& state) { return std::optional(state.kv_bytes); });
  gauge("tandem_rank_load", "Part of the last seconds that a rank computed.",
        [](const State& state) { return std::optional(state.rates.load); });
  gauge("tandem_rank_tokens_per_second", "Rows that a rank computed, over the last seconds.",
        [](const State& state) { return std::optional(state.rates.tokens_per_second); });
  gauge("tandem_rank_link_seconds", "One way from the rank before, or the gateway.",
        [](const State& state) { return seconds_of(state.link_ms); });
  gauge("tandem_rank_return_seconds", "One way from the last rank back to the gateway.",
        [](const State& state) { return seconds_of(state.return_ms); });
  gauge("tandem_rank_heartbeat_seconds", "Round trip between the gateway and a rank's worker.",
        [](const State& state) { return seconds_of(state.heartbeat_ms); });
}

void rank_counters(std::string& out, const Ranks& ranks) {
  const auto counter = [&](const char* name, const char* help, const auto& value) {
    rank_sample(out, ranks, name, help, "counter",
                [&](const RankInfo& rank) { return std::optional(value(rank.state.work)); });
  };
  using Work = RankWork;
  const auto seconds = [](std::uint64_t micros) { return static_cast<double>(micros) / 1e6; };
  counter("tandem_rank_ticks_total", "Steps that a rank has computed.",
          [](const Work& work) { return work.ticks; });
  counter("tandem_rank_tokens_total", "Rows that a rank has computed.",
          [](const Work& work) { return work.tokens; });
  counter("tandem_rank_busy_seconds_total", "Time that a rank has computed.",
          [&](const Work& work) { return seconds(work.busy_us); });
  counter("tandem_rank_expected_seconds_total",
          "What tandem_rank_busy_seconds_total was expected to be.",
          [&](const Work& work) { return seconds(work.predicted_us); });
  counter("tandem_rank_waiting_seconds_total", "Time that a rank has had nothing to compute.",
          [&](const Work& work) { return seconds(work.waiting_us); });
  counter("tandem_rank_sent_bytes_total", "Bytes of frames that a rank has passed on.",
          [](const Work& work) { return work.sent_bytes; });
}

}  // namespace

void append_metric_head(std::string& out, std::string_view name, std::string_view help,
                        std::string_view type) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void append_rank_metrics(std::string& out, const std::vector<RankInfo>& ranks) {
  rank_gauges(out, ranks);
  rank_counters(out, ranks);
}

}  // namespace tandem::server
