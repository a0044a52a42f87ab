#pragma once
// Which models the executor computes.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace tandem::cuda {

/// A range of the layers of a decoder with grouped attention: pre-norm, rope on pairs (i, i + 64),
/// SwiGLU, no biases, all matrices in 4 bits and groups of 64. Its MLPs are all dense, or all
/// mixtures of experts: the likeliest `top_k` by a router's logits, with the softmax of those.
struct ModelShape {
  int layers = 0;  // of the range
  int hidden = 0;
  int inner = 0;  // of the MLP, or of one expert
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int vocabulary = 0;
  int experts = 0;               // 0: the MLPs are dense
  int top_k = 0;                 // experts a token
  bool head_norms = false;       // rms_norm of each head of q and k before rope
  bool first = false;            // has the embedding
  bool last = false;             // has the final norm and the head
  float epsilon = 0;             // of norms
  float scale = 0;               // of scores
  std::vector<float> frequency;  // radians a position, of each pair

  int attention_width() const { return heads * head_dim; }
  /// Rows of `inner` that a token has.
  int experts_of_token() const { return experts > 0 ? top_k : 1; }
  /// The widest row that a product takes; a token's experts count as one.
  int widest() const { return std::max({hidden, inner * experts_of_token(), attention_width()}); }
  /// Bytes of a page of one layer's K and V.
  std::size_t page_bytes() const;
};

/// Why the kernels cannot run a model of this shape; "": they can.
std::string why_not(const ModelShape& shape);

}  // namespace tandem::cuda
