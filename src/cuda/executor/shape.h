#pragma once
// Which models the executor computes.

#include <cstdint>
#include <string>
#include <vector>

namespace tandem::cuda {

/// A range of the layers of a dense decoder with grouped attention: pre-norm, rope on pairs (i, i +
/// 64), SwiGLU, no biases, all matrices in 4 bits and groups of 64.
struct ModelShape {
  int layers = 0;  // of the range
  int hidden = 0;
  int inner = 0;  // of the MLP
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int vocabulary = 0;
  bool head_norms = false;       // rms_norm of each head of q and k before rope
  bool first = false;            // has the embedding
  bool last = false;             // has the final norm and the head
  float epsilon = 0;             // of norms
  float scale = 0;               // of scores
  std::vector<float> frequency;  // radians a position, of each pair

  int qkv_rows() const { return (heads + 2 * kv_heads) * head_dim; }
  int attention_width() const { return heads * head_dim; }
  /// Bytes of a page of one layer's K and V.
  std::size_t page_bytes() const;
};

/// Why the kernels cannot run a model of this shape; "": they can.
std::string why_not(const ModelShape& shape);

}  // namespace tandem::cuda
