#include "client/load_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

namespace tandem::client {
namespace {

/// `values` ascending and not empty, `part` of [0, 1].
double percentile(const std::vector<double>& values, double part) {
  const double place = part * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], place - static_cast<double>(below));
}

}  // namespace

Distribution distribution(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {sum / static_cast<double>(values.size()),
          percentile(values, 0.50),
          percentile(values, 0.90),
          percentile(values, 0.95),
          percentile(values, 0.99),
          values.back()};
}

LevelReport summarize(int streams, double seconds, const std::vector<RequestSample>& samples) {
  LevelReport out;
  out.streams = streams;
  out.seconds = seconds;
  std::vector<double> ttft;
  std::vector<double> itl;
  std::vector<double> tpot;
  std::vector<double> latency;
  for (const RequestSample& sample : samples) {
    if (!sample.error.empty()) {
      if (out.failed++ == 0) out.first_error = sample.error;
      continue;
    }
    ++out.completed;
    out.prompt_tokens += sample.prompt_tokens;
    out.cached_tokens += sample.cached_tokens;
    out.output_tokens += sample.output_tokens;
    ttft.push_back(sample.first_piece);
    itl.insert(itl.end(), sample.gaps.begin(), sample.gaps.end());
    latency.push_back(sample.whole);
    if (sample.output_tokens > 1) {
      tpot.push_back((sample.last_piece - sample.first_piece) /
                     static_cast<double>(sample.output_tokens - 1));
    }
  }
  if (seconds > 0) {
    out.requests_per_second = static_cast<double>(out.completed) / seconds;
    out.output_tps = static_cast<double>(out.output_tokens) / seconds;
    out.total_tps = static_cast<double>(out.prompt_tokens + out.output_tokens) / seconds;
  }
  out.ttft = distribution(std::move(ttft));
  out.itl = distribution(std::move(itl));
  out.tpot = distribution(std::move(tpot));
  out.latency = distribution(std::move(latency));
  return out;
}

}  // namespace tandem::client
