#pragma once
// A number of bytes that many connections share.

#include <atomic>
#include <cstddef>

namespace tandem::server {

/// Any thread may take and give back.
class ByteBudget {
 public:
  explicit ByteBudget(std::size_t max) : max_(max) {}

  /// False, and nothing is taken, when that would be more than the maximum.
  bool take(std::size_t bytes) {
    if (used_.fetch_add(bytes) + bytes <= max_) return true;
    used_.fetch_sub(bytes);
    return false;
  }
  /// Counts bytes that exist already, whatever the maximum.
  void add(std::size_t bytes) { used_.fetch_add(bytes); }
  void give_back(std::size_t bytes) { used_.fetch_sub(bytes); }
  std::size_t used() const { return used_.load(); }

 private:
  std::size_t max_;
  std::atomic<std::size_t> used_{0};
};

}  // namespace tandem::server
