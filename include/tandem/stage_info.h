#pragma once
// What a stage of the pipeline holds, as every part of the program may know it.

#include <cstdint>
#include <vector>

#include "tandem/dtype.h"
#include "tandem/limits.h"
#include "tandem/state_group.h"

namespace tandem {

/// Layers [first, last) of a model.
struct LayerRange {
  int first = 0;
  int last = 0;
  bool operator==(const LayerRange&) const = default;
};

/// What a stage holds, after loading.
struct StageInfo {
  LayerRange layers;
  int layer_count = 0;  // of the whole model
  std::int32_t hidden_size = 0;
  std::int32_t vocabulary = 0;
  std::int32_t context_max = 0;      // tokens, from the model's config
  DType hidden_dtype = DType::kF32;  // on the wire: kF32 or kBF16
  std::uint64_t weight_bytes = 0;
  std::uint64_t weight_bytes_per_token = 0;  // read for one token
  std::vector<StateGroup> states;  // what it keeps of a sequence; no two of one kind and window
  std::uint64_t kv_bytes_max = 0;  // of all sequences together
  bool pages_shared = true;        // else a fork copies what it takes over

  /// Of a token whose pages are all there, rounded up.
  std::uint64_t kv_bytes_per_token() const {
    std::uint64_t bytes = 0;
    for (const StateGroup& group : states) bytes += group.rule().recurrent() ? 0 : group.page_bytes;
    return (bytes + kPageTokens - 1) / kPageTokens;
  }

  /// Whether it embeds and draws, so that it can go on from what it drew: TickEntry::drawn_in.
  bool feeds_itself() const { return layers.first == 0 && layers.last == layer_count; }
};

}  // namespace tandem
