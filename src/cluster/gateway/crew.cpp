#include "cluster/gateway/crew.h"

#include <thread>
#include <utility>
#include <vector>

#include "cluster/timing.h"

namespace tandem::cluster {

Status Crew::run(int count, const Task& task, const std::function<void()>& abort,
                 const RankProgress& progress) {
  running_ = count;
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([this, i, &task] { finish(task(i, *this)); });
  }
  bool aborted = false;
  std::unique_lock lock(mutex_);
  while (running_ > 0) {
    changed_.wait_for(lock, timing::kWatch, [&] { return !news_.empty() || running_ == 0; });
    hand_on(lock, progress);
    if (result_ || aborted) continue;
    aborted = true;
    lock.unlock();
    abort();
    lock.lock();
  }
  hand_on(lock, progress);
  lock.unlock();
  for (std::thread& thread : threads) thread.join();
  return result_;
}

void Crew::report(int rank, std::uint64_t done, std::uint64_t total) {
  {
    const std::lock_guard lock(mutex_);
    news_.push_back({rank, done, total});
  }
  changed_.notify_all();
}

void Crew::finish(Status status) {
  {
    const std::lock_guard lock(mutex_);
    --running_;
    if (result_ && !status) result_ = std::move(status);
  }
  changed_.notify_all();
}

void Crew::hand_on(std::unique_lock<std::mutex>& lock, const RankProgress& progress) {
  while (!news_.empty()) {
    const News news = news_.front();
    news_.pop_front();
    lock.unlock();
    if (progress) progress(news.rank, news.done, news.total);
    lock.lock();
  }
}

}  // namespace tandem::cluster
