// Mixtral: Mistral's attention; every layer routes to the softmax of its best experts' logits.
// Source: transformers' and mlx-lm's mixtral.

#include <algorithm>

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {

Architecture mixtral(const config::ModelConfig& config, config::FieldReader& fields) {
  const Defaults defaults{.context_max = 131072};
  Architecture out = read_sizes(fields, defaults);
  const GroupedAttention attention = read_heads(fields, out, defaults);
  out.attention = attention;
  add_rope(fields, out, attention.head_dim, {.theta = 1e6});
  apply_windows(fields, out, read_window(config, fields, 0), [](int) { return true; });
  MoeSpec moe;
  moe.act = out.mlp.act;
  moe.width = fields.integer("intermediate_size", 1, kMaxExpertWidth);
  moe.router.experts = fields.integer_or("num_local_experts", 8, 1, kMaxExperts);
  moe.router.top_k =
      fields.integer_or("num_experts_per_tok", 2, 1, std::max(1, moe.router.experts));
  moe.router.softmax_after_top_k = true;
  out.moe = moe;
  for (LayerSpec& layer : out.layers) layer.moe = true;
  out.names.moe = {"block_sparse_moe", "mlp"};
  out.names.expert = {"w1", "w3", "w2"};
  return out;
}

}  // namespace tandem::models::families
