#pragma once
// Requests that one key may have under way.

#include <map>
#include <memory>
#include <mutex>

namespace tandem::server {

/// Counts places by key. Any thread; places may outlive it.
class KeySlots {
 public:
  /// `max`: places of a key; 0: no limit.
  explicit KeySlots(int max) : state_(std::make_shared<State>(max)) {}

  /// A place that is free again when the pointer goes; null when the key has all its places taken.
  std::shared_ptr<void> take(int key);

 private:
  struct State {
    explicit State(int given) : max(given) {}
    const int max;
    std::mutex mutex;
    std::map<int, int> taken;
  };
  std::shared_ptr<State> state_;
};

}  // namespace tandem::server
