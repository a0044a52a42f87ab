// Phi-3: fused projections and LongRoPE. Source: transformers' and mlx-lm's phi3.

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {

Architecture phi3(const config::ModelConfig& config, config::FieldReader& fields) {
  const Defaults defaults{.context_max = 4096};
  Architecture out = read_sizes(fields, defaults);
  GroupedAttention attention = read_heads(fields, out, defaults);
  attention.fused = true;
  out.attention = attention;
  out.mlp.fused = true;
  add_rope(fields, out, attention.head_dim, {});
  apply_windows(fields, out, read_window(config, fields, 0), [](int) { return true; });
  return out;
}

}  // namespace tandem::models::families
