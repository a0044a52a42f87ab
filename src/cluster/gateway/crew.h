#pragma once
// The same step on all ranks at once.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::cluster {

/// Runs one task a rank, each on a thread, while the calling thread hands on their progress. Every
/// task must end soon after `abort` is called.
class Crew {
 public:
  using Task = std::function<Status(int index, Crew& crew)>;

  /// Returns when all tasks have ended: the failure that came first, or success. `abort` is called
  /// once, at the first failure.
  Status run(int count, const Task& task, const std::function<void()>& abort,
             const RankProgress& progress);
  /// From a task: its rank's progress.
  void report(int rank, std::uint64_t done, std::uint64_t total);

 private:
  struct News {
    int rank;
    std::uint64_t done;
    std::uint64_t total;
  };
  void finish(Status status);
  void hand_on(std::unique_lock<std::mutex>& lock, const RankProgress& progress);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<News> news_;
  int running_ = 0;
  Status result_;
};

}  // namespace tandem::cluster
