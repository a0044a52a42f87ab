#pragma once
// Equal blocks of memory with reference counts.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <vector>

namespace tandem::cache {

/// Hands out blocks by number. The memory of a few idle blocks is kept for the next allocations.
/// Not thread-safe.
class BlockPool {
 public:
  /// with_memory false: blocks are numbers only, for arrays that live elsewhere and are counted
  /// here.
  BlockPool(std::size_t block_bytes, bool with_memory);

  /// A block with one reference, filled with zeros or with what is in block `copy_of`; nullopt when
  /// there is no memory.
  std::optional<int> allocate(std::optional<int> copy_of = std::nullopt);
  void add_reference(int block);
  /// Drops a reference; the last one makes the block idle.
  void release(int block);
  /// Gives an idle block's memory back to the system; false when none is kept.
  bool drop_spare();

  int references(int block) const;
  /// The block's bytes, aligned to 64; nullptr without memory.
  std::byte* data(int block) const;
  std::size_t block_bytes() const { return block_bytes_; }
  /// Blocks with a reference.
  std::size_t live() const { return live_; }
  /// Blocks that take memory: the live ones, and the spare memory.
  std::size_t held() const { return live_ + spare_.size(); }
  std::size_t spare() const { return spare_.size(); }

 private:
  struct Free {
    std::align_val_t alignment;  // as it was allocated
    void operator()(std::byte* memory) const { ::operator delete(memory, alignment); }
  };
  using Memory = std::unique_ptr<std::byte, Free>;
  struct Block {
    Memory memory;
    int references = 0;
  };
  Memory new_memory() const;

  std::size_t block_bytes_;
  bool with_memory_;
  std::vector<Block> blocks_;
  std::vector<int> unused_;    // numbers without a reference
  std::vector<Memory> spare_;  // memory of blocks that went idle
  std::size_t live_ = 0;
};

}  // namespace tandem::cache
