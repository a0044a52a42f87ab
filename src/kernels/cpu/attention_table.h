#pragma once
// What the attention loops of an instruction set are told.

#include <cstddef>
#include <cstdint>

#include "kernels/kv_spec.h"
#include "tandem/dtype.h"

namespace tandem::kernels {

/// What all blocks of one call share. `type` is that of queries and results.
struct AttentionShape {
  DType type = DType::kF32;
  KvLayout kv;
  std::size_t heads = 0;  // of a query row
  std::size_t group = 0;  // query heads of a KV head
  float scale = 1;
  float softcap = 0;        // 0: off
  std::int64_t window = 0;  // 0: off
};

/// Rows [begin, end) of one sequence and one KV head; row r is query r / group, head r % group of
/// the KV head's query heads. `q` and `out` are those of row 0, `position` is query 0's.
struct AttentionBlock {
  const std::byte* const* pages = nullptr;
  std::size_t head_offset = 0;   // bytes from a page to the KV head
  const std::byte* q = nullptr;  // rows are heads * key_dim elements a query apart
  std::byte* out = nullptr;      // and heads * value_dim
  const float* sinks = nullptr;  // of row 0's head; nullptr: none
  std::int64_t position = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

struct AttentionLoops {
  /// `scratch`: attention_scratch(shape, end - begin) floats.
  void (*attend)(const AttentionShape& shape, const AttentionBlock& block, float* scratch);
};

/// Floats that a block of `rows` rows works in. Independent of the length of the sequence.
inline std::size_t attention_scratch(const AttentionShape& shape, std::size_t rows) {
  const std::size_t row =
      shape.kv.key_stride + shape.kv.value_stride + kPageTokens + KvLayout::kRowElements + 2;
  return rows * row;
}

}  // namespace tandem::kernels
