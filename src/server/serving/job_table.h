#pragma once
// Which sequence belongs to which job.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "server/serving/job.h"

namespace tandem::server {

/// The jobs that the engine works on. Of the engine's thread.
class JobTable {
 public:
  using Cancel = std::function<void(std::uint64_t sequence)>;

  void add(std::shared_ptr<JobListener> listener, const std::vector<std::uint64_t>& sequences);
  /// Passes an event on; calls `cancel` for a sequence that its listener ends.
  void deliver(const scheduler::Event& event, const Cancel& cancel);
  /// Cancels the sequences of jobs that nobody wants.
  void drop_unwanted(Clock::time_point now, const Cancel& cancel);
  /// Ends all jobs, and cancels their sequences where an engine has them.
  void fail_all(const Error& error, const Cancel& cancel = {});

 private:
  struct Place {
    std::uint64_t job = 0;
    std::size_t index = 0;
  };
  struct Entry {
    std::shared_ptr<JobListener> listener;
    std::vector<std::uint64_t> sequences;  // that have not ended
  };
  void end(std::uint64_t sequence);

  std::uint64_t next_job_ = 1;
  std::map<std::uint64_t, Entry> jobs_;
  std::map<std::uint64_t, Place> places_;  // of sequences
};

}  // namespace tandem::server
