#pragma once
// The shape of one layer's KV and of its pages (free of MLX, for the loops).

#include <cstddef>

#include "tandem/dtype.h"
#include "tandem/limits.h"

namespace tandem::kernels {

/// Elements of an int8 key or value that share a scale; the last group of a row may be shorter.
inline constexpr int kInt8Group = 64;

/// The shape of one layer's KV. MLA keeps one "head" whose key is [latent | rope] and whose value
/// is the first `value_dim` elements of the key: then value_in_key is set and no V is stored.
/// `type` is kF32, kBF16 or kI8: integers in [-127, 127] with one float32 scale for each kInt8Group
/// elements of a key or value, from the largest of them, so that what a position stores depends on
/// that position only.
struct KvSpec {
  int heads = 0;
  int key_dim = 0;
  int value_dim = 0;
  bool value_in_key = false;
  DType type = DType::kBF16;
};

/// Bytes of one page of one layer (K and V); 64-byte multiple.
std::size_t kv_page_bytes(const KvSpec& spec);

/// Where things lie in a page: heads one after the other. A head is its keys transposed,
/// [key_dim][kPageTokens], so that scores of neighbouring tokens are neighbours, and then its
/// values [kPageTokens][value_stride]. With value_in_key it is its keys only,
/// [kPageTokens][key_stride]. Rows are padded with zeros to kRowElements. Behind them kI8 has the
/// scales of keys and of values, float32 [groups][kPageTokens] each; with value_in_key those of
/// keys serve both. Nothing in a page depends on how many tokens it has.
struct KvLayout {
  DType type = DType::kBF16;
  bool value_in_key = false;
  std::size_t key_dim = 0;
  std::size_t value_dim = 0;
  std::size_t key_stride = 0;    // elements between keys (value_in_key)
  std::size_t value_stride = 0;  // elements between values
  std::size_t value_offset = 0;  // bytes from a head to its values
  std::size_t key_scales = 0;    // bytes from a head to the scales of its keys (kI8)
  std::size_t value_scales = 0;  // and of its values
  std::size_t head_bytes = 0;

  static constexpr std::size_t kRowElements = 16;
  explicit KvLayout(const KvSpec& spec);
  KvLayout() = default;
};

/// Copies one token's key (key_dim elements of type `from`) and value (value_dim; unused with
/// value_in_key) of one head into slot [0, kPageTokens) of the head that starts at `head`.
void write_kv(const KvLayout& layout, std::byte* head, std::size_t slot, DType from,
              const std::byte* key, const std::byte* value);

}  // namespace tandem::kernels
