#pragma once
// What attention is told: the rows of a batch, whose KV they belong to, and how to attend.

#include <mlx/mlx.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/kv_spec.h"
#include "kernels/state_spec.h"

namespace tandem::kernels {

namespace mx = mlx::core;

/// What one layer keeps of one sequence. With Ops::keeps_pages() KV is in pages: page i holds
/// positions [i * kPageTokens, (i + 1) * kPageTokens) and must exist for every position touched;
/// of a recurrent layer there is one page, its StateLayout. Else it is in the arrays, replaced by
/// every call: keys and values [heads, capacity, dim], or of a recurrent layer inputs [conv_rows,
/// channels] and state float32 [heads, value_dim, key_dim] (absent: zero).
struct KvSequence {
  std::vector<std::byte*> pages;
  std::optional<mx::array> keys;
  std::optional<mx::array> values;
  std::optional<mx::array> inputs;
  std::optional<mx::array> state;
};

/// Rows [row, row + count) of a batch are positions [position, position + count) of one sequence,
/// whose KV is in `layers`, one a layer of the range that computes.
struct SequenceRows {
  int row = 0;
  int count = 0;
  std::int64_t position = 0;
  std::span<KvSequence> layers;
};

/// The rows that go through the layers together.
struct Batch {
  mx::array positions;                  // int32 [T], of Ops::upload()
  std::vector<SequenceRows> sequences;  // cover all T rows in order
};

struct AttentionSpec {
  int heads = 0;  // query heads; a multiple of kv.heads
  KvSpec kv;
  float scale = 1;
  float softcap = 0;  // 0: off. cap * tanh(score / cap) before masking (Gemma 2)
  int window = 0;     // 0: off. a query sees the last `window` positions, its own among them
};

/// Queries [T, heads, key_dim], keys [T, kv.heads, key_dim] and values [T, kv.heads, value_dim]
/// (absent with value_in_key).
struct AttentionRows {
  mx::array q;
  mx::array k;
  std::optional<mx::array> v;
};

}  // namespace tandem::kernels
