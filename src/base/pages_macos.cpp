// Pages on macOS.
#include <sys/mman.h>

#include <string>

#include "base/pages.h"

namespace tandem {
void prefer_huge_pages(std::byte*, std::size_t) {}  // the system has no such hint

Result<Pages> Pages::allocate(std::size_t bytes) {
  if (bytes == 0) return Pages();
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (map == MAP_FAILED) {
    return Error{ErrorCode::kResourceLimit,
                 "memory: the system refused " + std::to_string(bytes) + " bytes for weights"};
  }
  return Pages(std::unique_ptr<std::byte, Release>(static_cast<std::byte*>(map), Release{bytes}));
}

void Pages::Release::operator()(std::byte* data) const { munmap(data, bytes); }

}  // namespace tandem
