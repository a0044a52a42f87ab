#include "base/workspace.h"

#include <algorithm>
#include <new>
#include <utility>

namespace tandem {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kFirstBlock = std::size_t{1} << 20;

}  // namespace

void Workspace::reset() noexcept {
  used_ = 0;
  if (blocks_.size() < 2) return;
  // Next time one block holds it all; without memory for it, the next take() says so.
  std::size_t total = 0;
  for (const Block& block : blocks_) total += block.size;
  blocks_.clear();
  add_block(total);
}

std::byte* Workspace::bytes(std::size_t n) {
  n = (n + kAlignment - 1) / kAlignment * kAlignment;
  if (blocks_.empty() || blocks_.back().size - used_ < n) {
    const std::size_t last = blocks_.empty() ? kFirstBlock : blocks_.back().size;
    if (!add_block(std::max(n, last))) throw std::bad_alloc();
  }
  std::byte* taken = blocks_.back().pages.data() + used_;
  used_ += n;
  return taken;
}

/// False when the system has no memory for it; nothing changes then.
bool Workspace::add_block(std::size_t size) {
  Result<Pages> pages = Pages::allocate(size);
  if (!pages.ok()) return false;
  blocks_.push_back({std::move(*pages), size});
  used_ = 0;
  return true;
}

}  // namespace tandem
