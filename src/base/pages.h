#pragma once
// Large blocks of memory straight from the operating system.

#include <cstddef>
#include <memory>
#include <utility>

#include "tandem/error.h"

namespace tandem {

/// The size and alignment of a huge page.
inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// Asks the system for huge pages where whole ones lie in [begin, begin + bytes). A hint.
void prefer_huge_pages(std::byte* begin, std::size_t bytes);

/// Zeroed bytes, aligned to 64 at least and backed by huge pages where the system has them: a pass
/// over weights misses the address cache once in 2 MiB. Returned to the system when destroyed.
class Pages {
 public:
  Pages() {}
  /// Fails with kResourceLimit when the system refuses `bytes`.
  static Result<Pages> allocate(std::size_t bytes);

  std::byte* data() const { return bytes_.get(); }

 private:
  struct Release {
    std::size_t bytes;
    void operator()(std::byte* data) const;
  };
  explicit Pages(std::unique_ptr<std::byte, Release> bytes) : bytes_(std::move(bytes)) {}

  std::unique_ptr<std::byte, Release> bytes_{nullptr, Release{0}};
};

}  // namespace tandem
