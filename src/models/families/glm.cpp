// GLM 4.5 to 4.7, Solar Open and dots.llm1: grouped attention before DeepSeek-V3's experts.
// Sources: transformers' and mlx-lm's glm4_moe, solar_open, dots1.

#include "models/families/common.h"
#include "models/families/families.h"
#include "models/families/routed_experts.h"

namespace tandem::models::families {
namespace {

struct Flags {
  int context_max = 131072;
  std::optional<int> head_dim = std::nullopt;
  bool head_norms = false;
  bool dense_mlp = true;
  RopeDefaults rope = {};
};

Architecture attention(config::FieldReader& fields, const Flags& flags) {
  const Defaults defaults{
      .head_dim = flags.head_dim, .context_max = flags.context_max, .dense_mlp = flags.dense_mlp};
  Architecture out = read_sizes(fields, defaults);
  GroupedAttention heads = read_heads(fields, out, defaults);
  heads.qkv_bias = fields.boolean_or("attention_bias", false);
  heads.head_norms = flags.head_norms;
  add_rope(fields, out, heads.head_dim, flags.rope);
  out.attention = heads;
  return out;
}

}  // namespace

Architecture glm4_moe(const config::ModelConfig&, config::FieldReader& fields) {
  Architecture out = attention(
      fields, {.head_norms = fields.boolean_or("use_qk_norm", false), .rope = {.partial = 0.5}});
  out.moe = read_noaux(fields, out, {.shared = 1, .first = 1});
  require_noaux(fields);
  add_prediction_layers(fields, out);
  return out;
}

Architecture solar_open(const config::ModelConfig&, config::FieldReader& fields) {
  Architecture out =
      attention(fields, {.head_dim = 128, .dense_mlp = false, .rope = {.theta = 1e6}});
  fields.integer_or("first_k_dense_replace", 0, 0, 0);  // every layer has experts
  if (fields.boolean_or("use_qk_norm", false)) {
    fields.fail("use_qk_norm", "must be false for solar_open");
  }
  out.moe = read_noaux(fields, out, {.shared = 1});
  require_noaux(fields);
  return out;
}

Architecture dots1(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = attention(fields, {.context_max = 2048, .head_norms = true});
  const int last = fields.integer_or("max_window_layers", 62, 0, kMaxLayers);
  const int window = read_window(config, fields, 4096);
  apply_windows(fields, out, window, [&](int layer) { return window > 0 && layer >= last; });
  // Nothing here says how experts are chosen: published configs have noaux_tc as scoring_func.
  if (fields.has("n_routed_experts")) out.moe = read_noaux(fields, out, {.normalize = false});
  return out;
}

}  // namespace tandem::models::families
