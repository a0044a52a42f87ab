#pragma once
// Attention over the KV cache, for a ragged batch of sequences in one call.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/context.h"

namespace tandem::kernels {

/// Tokens of a KV page. Reductions over keys go page by page from position 0, so that a query's
/// result depends on its own position and the keys before it only.
inline constexpr int kPageTokens = 64;

enum class KvType : std::uint8_t { kF32, kBF16 };

/// The shape of one layer's KV. MLA keeps one "head" whose key is [latent | rope] and whose value is
/// the first `value_dim` elements of the key: then value_in_key is set and no V is stored.
struct KvSpec {
  int heads = 0;
  int key_dim = 0;
  int value_dim = 0;
  bool value_in_key = false;
  KvType type = KvType::kBF16;
};

/// Bytes of one page of one layer (K and V); 64-byte multiple.
std::size_t kv_page_bytes(const KvSpec& spec);

/// One sequence's KV in one layer. kCpu uses pages: page i holds positions
/// [i * kPageTokens, (i + 1) * kPageTokens) and must exist for every position touched. kMlx uses the
/// arrays ([heads, capacity, dim], replaced by every call). Which one is the Context's backend.
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
  int heads = 0;         // query heads; a multiple of kv.heads
  KvSpec kv;
  float scale = 1;
  float softcap = 0;     // 0: off. cap * tanh(score / cap) before masking (Gemma 2)
  int window = 0;        // 0: off. a query sees the last `window` positions, its own among them
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
