#include "base/workspace.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tandem {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kFirstBlock = std::size_t{1} << 20;

}  // namespace

void Workspace::reset() {
  used_ = 0;
  if (blocks_.size() < 2) return;
  // Next time one block holds it all.
  std::size_t total = 0;
  for (const Block& block : blocks_) total += block.size;
  blocks_.clear();
  bytes(total);
  used_ = 0;
}

std::byte* Workspace::bytes(std::size_t n) {
  n = (n + kAlignment - 1) / kAlignment * kAlignment;
  if (blocks_.empty() || blocks_.back().size - used_ < n) {
    const std::size_t last = blocks_.empty() ? kFirstBlock : blocks_.back().size;
    const std::size_t size = std::max(n, last);
    Result<Pages> pages = Pages::allocate(size);
    check(pages.ok(), "the system gives memory for the kernels' workspace");
    blocks_.push_back({std::move(*pages), size});
    used_ = 0;
  }
  std::byte* taken = blocks_.back().pages.data() + used_;
  used_ += n;
  return taken;
}

}  // namespace tandem
