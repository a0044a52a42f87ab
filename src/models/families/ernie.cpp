// ERNIE 4.5: Llama's wiring with interleaved rope; the mixture's experts are chosen by a softmax
// with a correction. Sources: transformers' ernie4_5 and ernie4_5_moe (mlx-lm's leaves the
// correction out).

#include <algorithm>

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {

Architecture ernie4_5_moe(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = ernie4_5(config, fields);
  MoeSpec moe;
  moe.act = out.mlp.act;
  moe.width = fields.integer("moe_intermediate_size", 1, kMaxExpertWidth);
  moe.shared_width = moe.width * fields.integer_or("moe_num_shared_experts", 2, 0, 64);
  moe.router.experts = fields.integer_or("moe_num_experts", 64, 1, kMaxExperts);
  moe.router.top_k = fields.integer_or("moe_k", 6, 1, std::max(1, moe.router.experts));
  moe.router.normalize = true;
  moe.correction = true;
  const std::string score = fields.string_or("moe_gate_act", "softmax");
  if (score != "softmax") {
    fields.fail("moe_gate_act", "must be \"softmax\" for ernie4_5_moe");
  }
  const int first = fields.integer_or("moe_layer_start_index", 1, 0, kMaxLayers);
  const int end = fields.integer_or("moe_layer_end_index", -1, -1, kMaxLayers);
  const int step = fields.integer_or("moe_layer_interval", 1, 1, kMaxLayers);
  for (int i = 0; i < static_cast<int>(out.layers.size()); ++i) {
    out.layers[static_cast<std::size_t>(i)].moe =
        (i + 1) % step == 0 && i >= first && (end == -1 || i <= end);
  }
  // mlx-lm drops it when it converts.
  out.names.corrections = {"moe_statics.e_score_correction_bias",
                           "gate.moe_statics.e_score_correction_bias"};
  out.names.correction_optional = true;
  out.names.foreign = {"model.mtp_"};
  out.moe = moe;
  return out;
}

}  // namespace tandem::models::families
