// Pages on Linux.
#include <sys/mman.h>

#include <cstdint>
#include <string>

#include "base/pages.h"

namespace tandem {
namespace {

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

void prefer_huge_pages(std::byte* begin, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t before = round_up(address, kHugePage) - address;
  if (bytes < before + kHugePage) return;
  madvise(begin + before, (bytes - before) / kHugePage * kHugePage, MADV_HUGEPAGE);
}

Result<Pages> Pages::allocate(std::size_t bytes) {
  if (bytes == 0) return Pages();
  const bool huge = bytes >= kHugePage;
  // Huge pages need their alignment: map more and give the ends back.
  const std::size_t kept = round_up(bytes, huge ? kHugePage : 4096);
  const std::size_t mapped = huge ? kept + kHugePage : kept;
  void* map = mapped < bytes ? MAP_FAILED
                             : mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) {
    return Error{ErrorCode::kResourceLimit,
                 "memory: the system refused " + std::to_string(bytes) + " bytes for weights"};
  }
  auto* begin = static_cast<std::byte*>(map);
  if (huge) {
    const auto address = reinterpret_cast<std::uintptr_t>(map);
    const std::size_t before = round_up(address, kHugePage) - address;
    if (before != 0) munmap(begin, before);
    munmap(begin + before + kept, kHugePage - before);
    begin += before;
    prefer_huge_pages(begin, kept);
  }
  return Pages(std::unique_ptr<std::byte, Release>(begin, Release{kept}));
}

void Pages::Release::operator()(std::byte* data) const { munmap(data, bytes); }

}  // namespace tandem
