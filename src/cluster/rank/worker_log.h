#pragma once
// What befalls a worker, one line each, for people.

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "tandem/deadline.h"

namespace tandem::cluster {

/// Thread-safe. Lines come one at a time, without a time and without an end.
class WorkerLog {
 public:
  using Sink = std::function<void(const std::string& line)>;

  WorkerLog() = default;
  /// An empty sink: nobody reads.
  explicit WorkerLog(Sink sink) : sink_(std::move(sink)) {}

  void say(const std::string& line);
  /// What anyone can cause who reaches the port: at most one line a second, so that a flood fills
  /// no disk; the next line says how many were left out.
  void refuse(const std::string& line, Clock::time_point now = Clock::now());

 private:
  std::mutex mutex_;
  Sink sink_;
  Clock::time_point next_{};
  std::uint64_t left_out_ = 0;
};

}  // namespace tandem::cluster
