#pragma once
// Memory that the loops of one stage use again and again.

#include <cstddef>
#include <new>
#include <type_traits>
#include <vector>

#include "base/pages.h"

namespace tandem {

/// Hands out uninitialised memory until the next reset(), and keeps it for the time after: large
/// blocks fresh from the system would cost more in page faults than the loops that use them. One
/// thread takes and resets at a time. Grows to what the largest round between two resets needs.
class Workspace {
 public:
  /// Frees, in one step, everything that was taken. Never throws.
  void reset() noexcept;

  /// n objects of a trivial type, aligned to 64 bytes. Throws std::bad_alloc when the system has no
  /// memory left, as new does; what was taken before stays valid.
  template <class T>
  T* take(std::size_t n) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 64);
    if (n > kBytesMax / sizeof(T)) throw std::bad_alloc();
    return reinterpret_cast<T*>(bytes(n * sizeof(T)));
  }

 private:
  static constexpr std::size_t kBytesMax = std::size_t{1} << 62;
  struct Block {
    Pages pages;
    std::size_t size = 0;
  };
  std::byte* bytes(std::size_t n);
  bool add_block(std::size_t size);

  std::vector<Block> blocks_;  // only the last has room
  std::size_t used_ = 0;       // of the last
};

}  // namespace tandem
