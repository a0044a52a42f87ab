#pragma once
// The attention loops, one table per instruction set.

#include <cstddef>
#include <cstdint>

#include "kernels/element.h"
#include "kernels/kv_spec.h"

namespace tandem::kernels {

enum class Isa;

/// What all blocks of one call share. `element` is the type of queries and results.
struct AttentionShape {
  Element element = Element::kF32;
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

namespace avx512 {
extern const AttentionLoops kAttention;
}
namespace avx2 {
extern const AttentionLoops kAttention;
}
namespace neon {
extern const AttentionLoops kAttention;
}
namespace portable {
extern const AttentionLoops kAttention;
}

/// The table of a resolved instruction set that this build has.
const AttentionLoops& attention_loops(Isa isa);

}  // namespace tandem::kernels
