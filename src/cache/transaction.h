#pragma once
// A change of a KvCache that is worked out on the side and then takes place, or does not.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "cache/kv_cache.h"

namespace tandem::cache {

/// Operations change drafts of the sequences they name; the cache itself changes in commit() only,
/// which can fail for want of memory and then changes nothing.
class KvCache::Transaction {
 public:
  explicit Transaction(KvCache& cache) : cache_(cache), deltas_(cache.groups_.size()) {}

  Status apply(const StateOp& op);
  Status append(const Append& append);
  /// The budget, after all operations.
  Status check_limits() const;
  Status commit();

 private:
  struct Draft {
    bool gone = false;
    bool appended = false;
    std::uint32_t length = 0;
    std::uint32_t floor = 0;
    /// By group: blocks of its pool; -1 - i stands for new_blocks_[i].
    std::vector<std::vector<int>> blocks;
    std::optional<std::uint64_t> origin;  // the sequence of the cache whose arrays go on
  };
  struct NewBlock {
    std::size_t group = 0;
    std::optional<int> copy_of;
    int number = -1;  // in the pool, once committed
  };

  /// The draft of a sequence, made from the cache when first asked for; nullptr when unknown.
  Draft* find(std::uint64_t sequence);
  int references(std::size_t group, int block) const;
  void drop_blocks(Draft& draft, std::uint32_t length);
  int add_block(std::size_t group, std::optional<int> copy_of);
  void extend(Draft& draft, std::uint32_t count);
  Status check_length(const char* what, std::uint64_t id, const Draft& draft,
                      std::uint32_t length) const;
  Status rewind(const StateOp& op);
  Status fork(const StateOp& op);
  /// Bytes in use, after all operations.
  std::uint64_t bytes() const;
  bool allocate();
  void settle(std::uint64_t id, Draft& draft, std::optional<Sequence> copied);

  KvCache& cache_;
  std::map<std::uint64_t, Draft> drafts_;
  std::vector<std::unordered_map<int, int>> deltas_;  // changes of reference counts, by group
  std::vector<NewBlock> new_blocks_;
};

}  // namespace tandem::cache
