#pragma once
// Figures for Prometheus.

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "server/http/server.h"
#include "server/serving/engine_loop.h"
#include "server/serving/request_record.h"

namespace tandem::server {

/// Seconds in cumulative buckets. Any thread.
class Histogram {
 public:
  static constexpr std::array<double, 14> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                     0.25,  0.5,    1,     2.5,  5,     10,   60};
  void observe(double seconds);
  /// Appends the samples in Prometheus' text format.
  void append(std::string& out, const std::string& name, const std::string& help) const;

 private:
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> counts_{};
  std::atomic<std::int64_t> nanoseconds_{0};
};

/// Any thread.
class Metrics {
 public:
  void request(const RequestRecord& record, const std::string& route);
  void token_gap(double seconds) { token_gap_.observe(seconds); }

  /// Prometheus' text format 0.0.4.
  std::string text(const EngineView& engine, const HttpCounters& http) const;

 private:
  Histogram queue_;
  Histogram first_token_;
  Histogram token_gap_;
  Histogram request_time_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::uint64_t> requests_;  // by route and status
  std::map<std::string, std::uint64_t> finished_;                  // by reason
};

}  // namespace tandem::server
