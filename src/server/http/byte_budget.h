#pragma once
// A number of bytes that many connections share.

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

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

/// Bytes that were taken, given back when this ends. A request's body counts until its answer
/// begins: while it waits for a thread, and while that makes tokens of it.
class HeldBytes {
 public:
  HeldBytes(std::shared_ptr<ByteBudget> budget, std::size_t bytes)
      : budget_(std::move(budget)), bytes_(bytes) {}
  ~HeldBytes() { budget_->give_back(bytes_); }
  HeldBytes(const HeldBytes&) = delete;
  HeldBytes& operator=(const HeldBytes&) = delete;

 private:
  std::shared_ptr<ByteBudget> budget_;
  std::size_t bytes_;
};

}  // namespace tandem::server
