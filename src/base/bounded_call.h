#pragma once
// A call that may block for longer than its caller can wait.

#include <chrono>
#include <future>
#include <optional>
#include <thread>
#include <utility>

namespace tandem {

/// What `work` returns, or nullopt when it takes longer than `limit`. It then runs on in a thread
/// of its own, so it must own all that it uses and end by itself. It must not throw.
template <class Work>
auto within(std::chrono::milliseconds limit, Work work) -> std::optional<decltype(work())> {
  std::packaged_task<decltype(work())()> task(std::move(work));
  auto result = task.get_future();
  std::thread(std::move(task)).detach();
  if (result.wait_for(limit) != std::future_status::ready) return std::nullopt;
  return result.get();
}

}  // namespace tandem
