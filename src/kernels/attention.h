#pragma once
// Attention over the KV cache, for a ragged batch of sequences in one call.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/context.h"
#include "kernels/kv_spec.h"

namespace tandem::kernels {

/// One sequence's KV in one layer. kCpu uses pages: page i holds positions
/// [i * kPageTokens, (i + 1) * kPageTokens) and must exist for every position touched. kMlx uses
/// the arrays ([heads, capacity, dim], replaced by every call). Which one is the Context's backend.
struct KvSequence {
  std::vector<std::byte*> pages;
  std::optional<mx::array> keys;
  std::optional<mx::array> values;
};

/// Rows [row, row + count) of the batch are positions [position, position + count) of `kv`.
struct SequenceRows {
  int row = 0;
  int count = 0;
  std::int64_t position = 0;
  KvSequence* kv = nullptr;
};

struct AttentionSpec {
  int heads = 0;  // query heads; a multiple of kv.heads
  KvSpec kv;
  float scale = 1;
  float softcap = 0;  // 0: off. cap * tanh(score / cap) before masking (Gemma 2)
  int window = 0;     // 0: off. a query sees the last `window` positions, its own among them
};

/// Writes keys and values of the batch into the caches, then attends causally.
/// q [T, heads, key_dim], k [T, kv.heads, key_dim], v [T, kv.heads, value_dim] (absent when
/// value_in_key) -> [T, heads, value_dim]. `rows` covers all T in order; the KvSequences must live
/// until the result is evaluated, and the result must be evaluated exactly once. Optional
/// sinks [heads]: one extra logit a head in the softmax's denominator.
mx::array attention(const Context& context, const AttentionSpec& spec, const mx::array& q,
                    const mx::array& k, const std::optional<mx::array>& v,
                    std::span<const SequenceRows> rows,
                    const std::optional<mx::array>& sinks = std::nullopt);

}  // namespace tandem::kernels
