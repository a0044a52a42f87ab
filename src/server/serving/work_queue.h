#pragma once
// Threads for work that would hold up the network: parsing, templates, tokenizing, grammars.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tandem::server {

/// A bounded queue in front of a few threads. The destructor drops what waits and joins.
class WorkQueue {
 public:
  WorkQueue(int threads, std::size_t capacity);
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  /// False when the queue is full. `work` must not throw.
  bool push(std::function<void()> work);

 private:
  void run();

  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable woken_;
  std::deque<std::function<void()>> waiting_;
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tandem::server
