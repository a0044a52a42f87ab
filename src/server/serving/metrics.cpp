#include "server/serving/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "server/serving/rank_metrics.h"

namespace tandem::server {
namespace {

void head(std::string& out, std::string_view name, std::string_view help, std::string_view type) {
  append_metric_head(out, name, help, type);
}

template <class T>
void sample(std::string& out, std::string_view name, std::string_view help, std::string_view type,
            T value) {
  head(out, name, help, type);
  out += fmt::format("{} {}\n", name, value);
}

void engine_samples(std::string& out, const EngineView& view) {
  const scheduler::EngineStats& stats = view.stats;
  const auto gauge = [&](const char* name, const char* help, auto value) {
    sample(out, name, help, "gauge", value);
  };
  const auto counter = [&](const char* name, const char* help, auto value) {
    sample(out, name, help, "counter", value);
  };
  gauge("tandem_up", "1 when the model answers.", view.phase == Phase::kReady ? 1 : 0);
  gauge("tandem_requests_running", "Sequences that hold KV.", stats.running);
  gauge("tandem_requests_waiting", "Sequences that wait for KV.", view.waiting);
  gauge("tandem_kv_tokens_used", "Tokens of KV set aside.", stats.kv_tokens_used);
  gauge("tandem_kv_tokens_idle", "Tokens of KV kept for prompts that begin alike.",
        stats.kv_tokens_idle);
  gauge("tandem_kv_tokens_capacity", "Tokens of KV that the tightest rank has.",
        stats.kv_tokens_capacity);
  gauge("tandem_prompt_tokens_per_second", "Prompt tokens computed, over the last seconds.",
        view.prompt_tps);
  gauge("tandem_generated_tokens_per_second", "Tokens generated, over the last seconds.",
        view.decode_tps);
  counter("tandem_prompt_tokens_total", "Prompt tokens computed.", stats.prompt_tokens);
  counter("tandem_generated_tokens_total", "Tokens generated.", stats.generated_tokens);
  counter("tandem_prefix_hits_total", "Requests that found a part of their prompt computed.",
          stats.prefix_hits);
  counter("tandem_prefix_tokens_total", "Prompt tokens found computed.", stats.prefix_tokens);
  counter("tandem_preemptions_total", "Sequences that lost their KV and were computed again.",
          stats.preemptions);
  counter("tandem_ticks_total", "Steps of the pipeline.", stats.ticks);
  counter("tandem_tick_seconds_total", "From a step's submission to its result.",
          stats.timed_seconds);
  counter("tandem_tick_expected_seconds_total",
          "What tandem_tick_seconds_total was expected to be.", stats.expected_seconds);
  counter("tandem_restarts_total", "Times that a failed pipeline was opened anew.", view.restarts);
}

void http_samples(std::string& out, const HttpCounters& http) {
  const auto counter = [&](const char* name, const char* help, std::int64_t value) {
    sample(out, name, help, "counter", value);
  };
  sample(out, "tandem_http_connections", "Open connections.", "gauge", http.connections);
  counter("tandem_http_connections_total", "Accepted connections.", http.connections_ever);
  counter("tandem_http_connections_evicted_total",
          "Waiting connections closed to make room for new ones.", http.evicted);
  counter("tandem_http_requests_total", "Requests handed to the routes.", http.requests);
  counter("tandem_http_refusals_total", "Requests answered before the routes saw them.",
          http.refusals);
  counter("tandem_http_clients_gone_total", "Clients that left before their answer ended.",
          http.gone);
  counter("tandem_http_clients_slow_total", "Clients dropped because they read too slowly.",
          http.slow);
  counter("tandem_http_received_bytes_total", "Bytes of requests.", http.bytes_in);
  counter("tandem_http_sent_bytes_total", "Bytes of answers.", http.bytes_out);
}

}  // namespace

void Histogram::observe(double seconds) {
  const auto bucket = std::ranges::lower_bound(kBounds, seconds) - kBounds.begin();
  counts_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  nanoseconds_.fetch_add(static_cast<std::int64_t>(seconds * 1e9), std::memory_order_relaxed);
}

void Histogram::append(std::string& out, const std::string& name, const std::string& help) const {
  head(out, name, help, "histogram");
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    sum += counts_[i].load(std::memory_order_relaxed);
    const std::string bound = i < kBounds.size() ? fmt::format("{}", kBounds[i]) : "+Inf";
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bound, sum);
  }
  const auto total = static_cast<double>(nanoseconds_.load(std::memory_order_relaxed)) / 1e9;
  out += fmt::format("{}_sum {}\n{}_count {}\n", name, total, name, sum);
}

void Metrics::request(const RequestRecord& record, const std::string& route) {
  if (record.queue_ms) queue_.observe(*record.queue_ms / 1000);
  if (record.first_token_ms) first_token_.observe(*record.first_token_ms / 1000);
  if (record.completion_tokens > 0) request_time_.observe(record.total_ms / 1000);
  const std::lock_guard lock(mutex_);
  ++requests_[{route, record.status}];
  if (record.prompt_tokens > 0 && !record.finish.empty()) ++finished_[record.finish];
}

std::string Metrics::text(const EngineView& engine, const HttpCounters& http) const {
  std::string out;
  engine_samples(out, engine);
  append_rank_metrics(out, engine.ranks);
  http_samples(out, http);
  head(out, "tandem_requests_total", "Answered requests; status 0: the client left first.",
       "counter");
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, count] : requests_) {
      out += fmt::format("tandem_requests_total{{route=\"{}\",status=\"{}\"}} {}\n", key.first,
                         key.second, count);
    }
    head(out, "tandem_finished_total", "Generations by how they ended; gone: the client left.",
         "counter");
    for (const auto& [reason, count] : finished_) {
      out += fmt::format("tandem_finished_total{{reason=\"{}\"}} {}\n", reason, count);
    }
  }
  queue_.append(out, "tandem_queue_seconds", "From a request to the first step that computes it.");
  first_token_.append(out, "tandem_first_token_seconds", "From a request to its first token.");
  token_gap_.append(out, "tandem_token_gap_seconds", "From a token to the next of its sequence.");
  request_time_.append(out, "tandem_request_seconds", "From a request to the end of its answer.");
  return out;
}

}  // namespace tandem::server
