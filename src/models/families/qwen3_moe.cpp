// Qwen 3 MoE, alone and inside Qwen 3 VL: Qwen 3's attention; softmax over all experts, then the
// best few. Source: transformers' and mlx-lm's qwen3_moe, qwen3_vl_moe.

#include <fmt/format.h>

#include <algorithm>

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {
namespace {

Architecture with_experts(config::FieldReader& fields, Architecture out) {
  MoeSpec moe;
  moe.act = out.mlp.act;
  moe.width = fields.integer("moe_intermediate_size", 1, kMaxExpertWidth);
  moe.router.experts = fields.integer(
      fields.has("num_experts") ? "num_experts" : "num_local_experts", 1, kMaxExperts);
  moe.router.top_k = fields.integer("num_experts_per_tok", 1, std::max(1, moe.router.experts));
  moe.router.normalize = fields.boolean_or("norm_topk_prob", false);
  apply_sparse_steps(fields, out);
  out.moe = moe;
  return out;
}

}  // namespace

Architecture qwen3_moe(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = with_experts(fields, qwen3(config, fields));
  // Unlike Qwen 3, a window that is switched on holds for every layer.
  const bool on = fields.boolean_or("use_sliding_window", false);
  apply_windows(fields, out, on ? read_window(config, fields, 4096) : 0, [&](int) { return on; });
  return out;
}

Architecture qwen3_vl_moe(const config::ModelConfig& config, config::FieldReader& fields) {
  return with_experts(fields, qwen3_vl(config, fields));
}

}  // namespace tandem::models::families
