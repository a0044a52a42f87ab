// DeepSeek V2 and V3: latent attention, routed experts with a shared one, the first layers dense.
// Sources: arXiv 2405.04434, arXiv 2412.19437, transformers' and mlx-lm's deepseek_v2, deepseek_v3.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {
namespace {

LatentAttention read_latent(config::FieldReader& fields, int context_max) {
  LatentAttention out;
  out.heads = fields.integer("num_attention_heads", 1, kMaxHeads);
  out.q_rank = fields.integer_or("q_lora_rank", 0, 1, kMaxHidden);
  out.kv_rank = fields.integer("kv_lora_rank", 1, kMaxHidden);
  out.nope_dim = fields.integer("qk_nope_head_dim", 1, kMaxHeadDim);
  out.rope_dim = fields.integer("qk_rope_head_dim", 2, kMaxHeadDim);
  out.value_dim = fields.integer("v_head_dim", 1, kMaxHeadDim);
  out.bias = fields.boolean_or("attention_bias", false);
  const double stretch =
      yarn_attention_scale(rope_parameters(fields), {.context_max = context_max});
  out.scale = static_cast<float>(stretch / std::sqrt(out.nope_dim + out.rope_dim));
  return out;
}

/// Sizes and routing that both versions share; the caller adds how experts are scored.
MoeSpec read_moe(config::FieldReader& fields, Architecture& sizes) {
  MoeSpec moe;
  moe.act = sizes.mlp.act;
  moe.width = fields.integer("moe_intermediate_size", 1, kMaxExpertWidth);
  moe.shared_width = moe.width * fields.integer_or("n_shared_experts", 0, 0, 64);
  moe.router.experts = fields.integer("n_routed_experts", 1, kMaxExperts);
  moe.router.top_k = fields.integer("num_experts_per_tok", 1, std::max(1, moe.router.experts));
  moe.router.scale = static_cast<float>(fields.number_or("routed_scaling_factor", 1, 0, 1e6));
  const int first = fields.integer_or("first_k_dense_replace", 0, 0, kMaxLayers);
  const int step = fields.integer_or("moe_layer_freq", 1, 1, kMaxLayers);
  for (int i = 0; i < static_cast<int>(sizes.layers.size()); ++i) {
    sizes.layers[static_cast<std::size_t>(i)].moe = i >= first && i % step == 0;
  }
  return moe;
}

void read_groups(config::FieldReader& fields, kernels::RouterSpec& router) {
  router.groups = fields.integer_or("n_group", 1, 1, std::max(1, router.experts));
  router.top_groups = fields.integer_or("topk_group", 1, 1, std::max(1, router.groups));
  if (!fields.status().ok()) return;
  const int per_group = router.experts / router.groups;
  const int reachable = per_group * router.top_groups;
  if (router.experts % router.groups != 0 || (router.groups > 1 && per_group < 2)) {
    fields.fail("n_group", fmt::format("must divide n_routed_experts {} into groups of 2 or more, "
                                       "not {}",
                                       router.experts, router.groups));
  } else if (router.top_k > reachable) {
    fields.fail("num_experts_per_tok", fmt::format("must be at most the {} experts of topk_group "
                                                   "groups, not {}",
                                                   reachable, router.top_k));
  }
}

Architecture deepseek(config::FieldReader& fields, int context_max) {
  Architecture out = read_sizes(fields, {.context_max = context_max});
  out.attention = read_latent(fields, out.context_max);
  RopeGeometry geometry;
  geometry.head_dim = std::get<LatentAttention>(out.attention).rope_dim;
  geometry.context_max = out.context_max;
  geometry.interleaved = fields.boolean_or("rope_interleave", true);
  geometry.theta = fields.number_or("rope_theta", 10000, 1, 1e15);
  out.ropes.push_back(rope_table(rope_parameters(fields), geometry, fields));
  out.context_max = scaled_context(rope_parameters(fields), geometry);
  return out;
}

}  // namespace

Architecture deepseek_v2(const config::ModelConfig&, config::FieldReader& fields) {
  Architecture out = deepseek(fields, 2048);
  if (!fields.has("n_routed_experts")) return out;
  MoeSpec moe = read_moe(fields, out);
  moe.router.score = kernels::RouterSpec::Score::kSoftmax;
  moe.router.group_score = kernels::RouterSpec::GroupScore::kMax;
  const std::string method = fields.string_or("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    read_groups(fields, moe.router);
  } else if (method != "greedy" && method != "gready") {
    fields.fail("topk_method", fmt::format("\"{}\" is not supported; known: greedy, "
                                           "group_limited_greedy",
                                           method));
  }
  // The published code, transformers and mlx-lm each do something else with it; no model sets it.
  if (fields.boolean_or("norm_topk_prob", false)) {
    fields.fail("norm_topk_prob", "must be false for deepseek_v2");
  }
  out.moe = moe;
  return out;
}

Architecture deepseek_v3(const config::ModelConfig&, config::FieldReader& fields) {
  Architecture out = deepseek(fields, 4096);
  // The multi-token-prediction heads follow the layers under the next numbers.
  out.extra_layers = fields.integer_or("num_nextn_predict_layers", 1, 0, kMaxLayers);
  if (!fields.has("n_routed_experts")) return out;
  MoeSpec moe = read_moe(fields, out);
  moe.router.score = kernels::RouterSpec::Score::kSigmoid;
  moe.router.group_score = kernels::RouterSpec::GroupScore::kTopTwoSum;
  read_groups(fields, moe.router);
  moe.router.normalize = fields.boolean_or("norm_topk_prob", true) && moe.router.top_k > 1;
  moe.router.normalize_epsilon = 1e-20F;
  moe.correction = true;
  for (const auto& [field, known] :
       {std::pair{"topk_method", "noaux_tc"}, std::pair{"scoring_func", "sigmoid"}}) {
    const std::string value = fields.string_or(field, known);
    if (value != known) {
      fields.fail(field, fmt::format("must be \"{}\" for deepseek_v3, not \"{}\"", known, value));
    }
  }
  out.moe = moe;
  return out;
}

}  // namespace tandem::models::families
