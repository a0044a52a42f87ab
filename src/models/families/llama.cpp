// Llama 2 and 3, Mistral, Qwen 2 and Qwen 3: one wiring, told apart by a few flags.
// Sources: transformers' and mlx-lm's modules of the same names.

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {
namespace {

/// How the biases of the attention projections are chosen.
enum class Biases { kField, kQkvOnly };

struct Flags {
  Biases biases = Biases::kField;
  bool head_norms = false;
  int context_max = 2048;
  double theta = 10000;
};

Architecture decoder(const config::ModelConfig& config, config::FieldReader& fields,
                     const Flags& flags) {
  const Defaults defaults{.context_max = flags.context_max};
  Architecture out = read_sizes(fields, defaults);
  GroupedAttention attention = read_heads(fields, out, defaults);
  const bool bias = fields.boolean_or("attention_bias", false);
  attention.qkv_bias = bias || flags.biases == Biases::kQkvOnly;
  attention.out_bias = bias && flags.biases == Biases::kField;
  attention.head_norms = flags.head_norms;
  out.mlp.bias = fields.boolean_or("mlp_bias", false);
  add_rope(fields, out, attention.head_dim, flags.theta);
  out.attention = attention;
  apply_windows(fields, out, read_window(config, fields, 0), [](int) { return false; });
  return out;
}

/// Qwen's windows start at a layer, and only when they are switched on.
void qwen_windows(const config::ModelConfig& config, config::FieldReader& fields,
                  Architecture& out) {
  const bool on = fields.boolean_or("use_sliding_window", false);
  const int first = fields.integer_or("max_window_layers", 28, 0, kMaxLayers);
  apply_windows(fields, out, on ? read_window(config, fields, 4096) : 0,
                [&](int layer) { return on && layer >= first; });
}

}  // namespace

Architecture llama(const config::ModelConfig& config, config::FieldReader& fields) {
  return decoder(config, fields, {});
}

Architecture mistral(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = decoder(config, fields, {.context_max = 131072});
  // Every layer slides; mlx-lm runs such a model with full attention.
  apply_windows(fields, out, read_window(config, fields, 4096), [](int) { return true; });
  return out;
}

Architecture qwen2(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = decoder(config, fields, {.biases = Biases::kQkvOnly, .context_max = 32768});
  qwen_windows(config, fields, out);
  return out;
}

Architecture qwen3(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = decoder(config, fields, {.head_norms = true, .context_max = 32768});
  qwen_windows(config, fields, out);
  return out;
}

}  // namespace tandem::models::families
