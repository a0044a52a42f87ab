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
  explicit Transaction(KvCache& cache) : cache_(cache) {}

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
    /// Blocks of the pool; -1 - i stands for new_blocks_[i].
    std::vector<int> blocks;
    std::optional<std::uint64_t> origin;  // the sequence of the cache whose arrays go on
  };
  struct NewBlock {
    std::optional<int> copy_of;
    int number = -1;  // in the pool, once committed
  };

  /// The draft of a sequence, made from the cache when first asked for; nullptr when unknown.
  Draft* find(std::uint64_t sequence);
  int references(int block) const;
  void drop_blocks(Draft& draft, std::size_t keep);
  Status rewind(const StateOp& op);
  Status fork(const StateOp& op);
  bool allocate();
  void settle(std::uint64_t id, Draft& draft, std::optional<Sequence> copied);

  KvCache& cache_;
  std::map<std::uint64_t, Draft> drafts_;
  std::unordered_map<int, int> deltas_;  // changes of reference counts
  std::vector<NewBlock> new_blocks_;
};

}  // namespace tandem::cache
