// Qwen 3 Next and Qwen 3.5 (text): gated delta nets with a gated attention after every few, dense
// or with experts. Source: transformers' and mlx-lm's qwen3_next, qwen3_5, qwen3_5_moe.

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {
namespace {

constexpr int kMaxTaps = 16;

GatedDelta read_delta(config::FieldReader& fields) {
  GatedDelta delta;
  delta.key_heads = fields.integer_or("linear_num_key_heads", 16, 1, kMaxHeads);
  delta.heads = fields.integer_or("linear_num_value_heads", 32, 1, kMaxHeads);
  delta.key_dim = fields.integer_or("linear_key_head_dim", 128, 1, kMaxHeadDim);
  delta.value_dim = fields.integer_or("linear_value_head_dim", 128, 1, kMaxHeadDim);
  delta.taps = fields.integer_or("linear_conv_kernel_dim", 4, 2, kMaxTaps);
  if (fields.status().ok() && delta.heads % delta.key_heads != 0) {
    fields.fail("linear_num_value_heads", fmt::format("must be a multiple of linear_num_key_heads "
                                                      "{}, not {}",
                                                      delta.key_heads, delta.heads));
  }
  return delta;
}

void read_layer_types(config::FieldReader& fields, Architecture& out) {
  const int interval = fields.integer_or("full_attention_interval", 4, 1, kMaxLayers);
  const std::vector<std::string> types = fields.strings_or_empty("layer_types");
  if (!types.empty() && types.size() != out.layers.size()) {
    fields.fail("layer_types",
                fmt::format("must name {} layers, not {}", out.layers.size(), types.size()));
    return;
  }
  for (std::size_t i = 0; i < out.layers.size(); ++i) {
    const bool full = types.empty() ? (i + 1) % static_cast<std::size_t>(interval) == 0
                                    : types[i] == "full_attention";
    if (!types.empty() && !full && types[i] != "linear_attention") {
      fields.fail("layer_types", fmt::format("\"{}\" is not supported; known: full_attention, "
                                             "linear_attention",
                                             types[i]));
    }
    out.layers[i].recurrent = !full;
  }
}

Architecture hybrid(config::FieldReader& fields, bool dense_mlp) {
  const Defaults defaults{.head_dim = 256, .context_max = 32768, .dense_mlp = dense_mlp};
  Architecture out = read_sizes(fields, defaults);
  if (out.mlp.act != kernels::GatedActivation::kSwiGlu) {
    fields.fail("hidden_act", "must be silu, as that of the convolutions");
  }
  GroupedAttention attention = read_heads(fields, out, defaults);
  attention.qkv_bias = attention.out_bias = fields.boolean_or("attention_bias", false);
  attention.head_norms = true;
  attention.gated = true;
  if (!fields.boolean_or("attn_output_gate", true)) {
    fields.fail("attn_output_gate", "must be true: queries come with a gate");
  }
  const std::string gate = fields.string_or("output_gate_type", "swish");
  if (gate != "swish" && gate != "silu") {
    fields.fail("output_gate_type", fmt::format("must be swish or silu, not \"{}\"", gate));
  }
  add_rope(fields, out, attention.head_dim, {.partial = 0.25});
  out.attention = attention;
  out.delta = read_delta(fields);
  read_layer_types(fields, out);
  out.norm_offset = 1;
  out.offset_by_layout = true;
  out.names.foreign = {"mtp.", "model.mtp.", "language_model.mtp."};
  return out;
}

void add_experts(config::FieldReader& fields, Architecture& out, int experts, int chosen) {
  MoeSpec moe;
  moe.act = out.mlp.act;
  moe.width = fields.integer_or("moe_intermediate_size", 512, 1, kMaxExpertWidth);
  moe.shared_width = fields.integer_or("shared_expert_intermediate_size", 512, 1, kMaxExpertWidth);
  moe.shared_gate = true;
  moe.router.experts = fields.integer_or("num_experts", experts, 1, kMaxExperts);
  moe.router.top_k =
      fields.integer_or("num_experts_per_tok", chosen, 1, std::max(1, moe.router.experts));
  out.names.shared = "shared_expert";
  moe.router.normalize = true;
  out.moe = moe;
}

}  // namespace

Architecture qwen3_5(const config::ModelConfig&, config::FieldReader& fields) {
  return hybrid(fields, true);
}

Architecture qwen3_5_moe(const config::ModelConfig&, config::FieldReader& fields) {
  Architecture out = hybrid(fields, false);
  add_experts(fields, out, 256, 8);
  for (LayerSpec& layer : out.layers) layer.moe = true;
  return out;
}

Architecture qwen3_next(const config::ModelConfig&, config::FieldReader& fields) {
  Architecture out = hybrid(fields, true);
  out.delta->fused = true;
  add_experts(fields, out, 512, 10);
  out.moe->router.normalize = fields.boolean_or("norm_topk_prob", true);
  apply_sparse_steps(fields, out);
  return out;
}

}  // namespace tandem::models::families
