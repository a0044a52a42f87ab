// DeepSeek V2 and V3, Kimi K2 and GLM 4.7 Flash: latent attention, routed experts with a shared
// one, the first layers dense. Sources: arXiv 2405.04434, arXiv 2412.19437, transformers' and
// mlx-lm's deepseek_v2, deepseek_v3, glm4_moe_lite.

#include <fmt/format.h>

#include <cmath>

#include "models/families/common.h"
#include "models/families/families.h"
#include "models/families/routed_experts.h"

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
  MoeSpec moe = read_routed(fields, out, {});
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
  add_prediction_layers(fields, out);
  if (!fields.has("n_routed_experts")) return out;
  out.moe = read_noaux(fields, out, {});
  require_noaux(fields);
  return out;
}

// The same blocks under another name, with experts in all layers but the first.
Architecture glm4_moe_lite(const config::ModelConfig&, config::FieldReader& fields) {
  Architecture out = deepseek(fields, 202752);
  add_prediction_layers(fields, out);
  out.moe = read_noaux(fields, out, {.shared = 1, .first = 1, .scale = 1.8});
  require_noaux(fields);
  const auto types = fields.strings_or_empty("mlp_layer_types");
  if (types.empty()) return out;
  if (types.size() != out.layers.size()) {
    fields.fail("mlp_layer_types",
                fmt::format("must name {} layers, not {}", out.layers.size(), types.size()));
    return out;
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "dense" && types[i] != "sparse") {
      fields.fail("mlp_layer_types",
                  fmt::format("\"{}\" is not supported; known: dense, sparse", types[i]));
    }
    out.layers[i].moe = types[i] == "sparse";
  }
  return out;
}

}  // namespace tandem::models::families
