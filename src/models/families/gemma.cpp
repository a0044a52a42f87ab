// Gemma 2 and Gemma 3 (text): norms around both halves of a layer with weights stored less one, a
// scaled embedding, and layers that alternate between a window and full attention.
// Source: transformers' gemma2 and gemma3 (mlx-lm's gemma2 has no windows).

#include <mlx/types/half_types.h>

#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {
namespace {

Architecture gemma(const config::ModelConfig& config, config::FieldReader& fields,
                   const Defaults& defaults) {
  Architecture out = read_sizes(fields, defaults);
  GroupedAttention attention = read_heads(fields, out, defaults);
  const bool bias = fields.boolean_or("attention_bias", false);
  attention.qkv_bias = bias;
  attention.out_bias = bias;
  const double scalar = fields.number_or("query_pre_attn_scalar", 256, 1e-3, 1e6);
  attention.scale = static_cast<float>(1.0 / std::sqrt(scalar));
  out.attention = attention;
  out.sandwich_norms = true;
  out.norm_offset = 1;
  // The factor is a number of the weights' type: bfloat16 rounds it.
  out.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(out.hidden)));
  if (config.dtype == DType::kBF16) {
    out.embedding_scale = static_cast<float>(mlx::core::bfloat16_t(out.embedding_scale));
  } else if (config.dtype == DType::kF16) {
    out.embedding_scale = static_cast<float>(mlx::core::float16_t(out.embedding_scale));
  }
  return out;
}

kernels::RopeSpec gemma3_rope(config::FieldReader& fields, const Architecture& sizes,
                              std::string_view kind, std::string_view theta_field, double theta) {
  RopeGeometry geometry;
  geometry.head_dim = std::get<GroupedAttention>(sizes.attention).head_dim;
  geometry.context_max = sizes.context_max;
  geometry.theta = fields.number_or(theta_field, theta, 1, 1e15);
  auto nested = fields.object("rope_parameters");
  auto parameters = nested ? nested->object(kind) : std::nullopt;
  // Parameters that name no kind of layer are those of full attention.
  if (kind == "full_attention") {
    if (!nested) {
      parameters = fields.object("rope_scaling");
    } else if (!nested->has(kind) && !nested->has("sliding_attention")) {
      parameters = std::move(nested);
    }
  }
  return rope_table(parameters, geometry, fields);
}

}  // namespace

Architecture gemma2(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = gemma(config, fields,
                           {.head_dim = 256,
                            .context_max = 8192,
                            .act_field = "hidden_activation",
                            .act = "gelu_pytorch_tanh"});
  auto& attention = std::get<GroupedAttention>(out.attention);
  attention.softcap = static_cast<float>(fields.number_or(
      "attn_logit_softcapping", config.fields.contains("attn_logit_softcapping") ? 0 : 50, 0, 1e6));
  out.logit_softcap = static_cast<float>(
      fields.number_or("final_logit_softcapping",
                       config.fields.contains("final_logit_softcapping") ? 0 : 30, 0, 1e6));
  add_rope(fields, out, attention.head_dim, {});
  apply_windows(fields, out, read_window(config, fields, 4096),
                [](int layer) { return layer % 2 == 0; });
  return out;
}

Architecture gemma3(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = gemma(config, fields,
                           {.vocabulary = 262208,
                            .heads = 8,
                            .kv_heads = 4,
                            .head_dim = 256,
                            .context_max = 131072,
                            .act_field = "hidden_activation",
                            .act = "gelu_pytorch_tanh"});
  auto& attention = std::get<GroupedAttention>(out.attention);
  attention.head_norms = true;
  attention.softcap = static_cast<float>(fields.number_or("attn_logit_softcapping", 0, 0, 1e6));
  out.logit_softcap = static_cast<float>(fields.number_or("final_logit_softcapping", 0, 0, 1e6));
  if (fields.boolean_or("use_bidirectional_attention", false)) {
    fields.fail("use_bidirectional_attention", "must be false: a decoder only looks back");
  }
  // Its configs state the stretched context: max_position_embeddings is left as it is.
  out.ropes.push_back(gemma3_rope(fields, out, "full_attention", "rope_theta", 1e6));
  out.ropes.push_back(gemma3_rope(fields, out, "sliding_attention", "rope_local_base_freq", 10000));
  const int pattern = fields.integer_or("sliding_window_pattern", 6, 1, kMaxLayers);
  const auto sliding = apply_windows(fields, out, read_window(config, fields, 4096),
                                     [&](int layer) { return (layer + 1) % pattern != 0; });
  for (std::size_t i = 0; i < sliding.size(); ++i) out.layers[i].rope = sliding[i] ? 1 : 0;
  out.names.foreign = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                       "model.multi_modal_projector."};
  return out;
}

}  // namespace tandem::models::families
