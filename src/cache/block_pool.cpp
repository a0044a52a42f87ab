#include "cache/block_pool.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/pages.h"

namespace tandem::cache {
namespace {

/// Idle memory kept at hand; more goes back to the system.
constexpr std::size_t kSpareBlocksMax = 16;

}  // namespace

BlockPool::BlockPool(std::size_t block_bytes, bool with_memory)
    : block_bytes_(block_bytes), with_memory_(with_memory) {
  check(block_bytes > 0, "a block has bytes");
}

BlockPool::Memory BlockPool::new_memory() const {
  // Long contexts are read at the speed of memory only from huge pages.
  const std::align_val_t alignment{block_bytes_ < kHugePage ? std::size_t{64} : kHugePage};
  Memory memory(static_cast<std::byte*>(::operator new(block_bytes_, alignment, std::nothrow)),
                Free{alignment});
  if (memory) prefer_huge_pages(memory.get(), block_bytes_);
  return memory;
}

std::optional<int> BlockPool::allocate(std::optional<int> copy_of) {
  Memory memory;
  if (with_memory_) {
    if (spare_.empty()) {
      memory = new_memory();
    } else {
      memory = std::move(spare_.back());
      spare_.pop_back();
    }
    if (!memory) return std::nullopt;
    if (copy_of) {
      std::memcpy(memory.get(), data(*copy_of), block_bytes_);
    } else {
      // A masked position is multiplied by zero, so it must not hold an old NaN; and a state begins
      // with zeros.
      std::memset(memory.get(), 0, block_bytes_);
    }
  }
  if (unused_.empty()) {
    unused_.push_back(static_cast<int>(blocks_.size()));
    blocks_.emplace_back();
  }
  const int number = unused_.back();
  unused_.pop_back();
  blocks_[static_cast<std::size_t>(number)] = {std::move(memory), 1};
  ++live_;
  return number;
}

void BlockPool::add_reference(int block) {
  Block& entry = blocks_.at(static_cast<std::size_t>(block));
  check(entry.references > 0, "only a live block is shared");
  ++entry.references;
}

void BlockPool::release(int block) {
  Block& entry = blocks_.at(static_cast<std::size_t>(block));
  check(entry.references > 0, "a block is released once per reference");
  if (--entry.references > 0) return;
  --live_;
  unused_.push_back(block);
  Memory memory = std::move(entry.memory);
  if (memory && spare_.size() < kSpareBlocksMax) spare_.push_back(std::move(memory));
}

bool BlockPool::drop_spare() {
  if (spare_.empty()) return false;
  spare_.pop_back();
  return true;
}

int BlockPool::references(int block) const {
  return blocks_.at(static_cast<std::size_t>(block)).references;
}

std::byte* BlockPool::data(int block) const {
  return blocks_.at(static_cast<std::size_t>(block)).memory.get();
}

}  // namespace tandem::cache
