// Llama 2 and 3, Mistral, Qwen 2 and Qwen 3, and what others made of them: one wiring, told apart
// by a few flags. Sources: transformers' and mlx-lm's modules of the same names.

#include "models/families/common.h"
#include "models/families/families.h"

namespace tandem::models::families {
namespace {

/// How the biases of the attention projections are chosen.
enum class Biases { kField, kQkvOnly, kApart };

struct Flags {
  Biases biases = Biases::kField;
  bool head_norms = false;
  int context_max = 2048;
  int head_dim = 0;  // 0: hidden / heads
  RopeDefaults rope = {};
};

Architecture decoder(const config::ModelConfig& config, config::FieldReader& fields,
                     const Flags& flags) {
  Defaults defaults{.context_max = flags.context_max};
  if (flags.head_dim > 0) defaults.head_dim = flags.head_dim;
  Architecture out = read_sizes(fields, defaults);
  GroupedAttention attention = read_heads(fields, out, defaults);
  const bool bias = fields.boolean_or("attention_bias", flags.biases == Biases::kApart);
  attention.qkv_bias = bias || flags.biases == Biases::kQkvOnly;
  attention.out_bias = flags.biases == Biases::kApart
                           ? fields.boolean_or("attention_out_bias", false)
                           : bias && flags.biases == Biases::kField;
  attention.head_norms = flags.head_norms;
  out.mlp.bias = fields.boolean_or("mlp_bias", false);
  add_rope(fields, out, attention.head_dim, flags.rope);
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

// Images turn by three positions (mrope); for text all three are the same, which is the plain rope.
Architecture qwen2_vl(const config::ModelConfig& config, config::FieldReader& fields) {
  return qwen2(config, fields);
}

Architecture qwen3_vl(const config::ModelConfig& config, config::FieldReader& fields) {
  return decoder(config, fields,
                 {.head_norms = true, .context_max = 128000, .rope = {.theta = 500000}});
}

// Qwen 2's wiring; the layers that predict further tokens are not run.
Architecture mimo(const config::ModelConfig& config, config::FieldReader& fields) {
  Architecture out = qwen2(config, fields);
  out.names.foreign = {"model.mtp_layers."};
  return out;
}

Architecture seed_oss(const config::ModelConfig& config, config::FieldReader& fields) {
  return decoder(config, fields,
                 {.biases = Biases::kApart, .context_max = 524288, .head_dim = 128});
}

Architecture iquestcoder(const config::ModelConfig& config, config::FieldReader& fields) {
  if (fields.has("clip_qkv")) fields.fail("clip_qkv", "must be null for iquestcoder");
  if (fields.boolean_or("use_sliding_window", false)) {
    fields.fail("use_sliding_window", "must be false for iquestcoder");
  }
  return decoder(config, fields, {.context_max = 131072});
}

Architecture ernie4_5(const config::ModelConfig& config, config::FieldReader& fields) {
  // It would give the head a bias too; no published model sets it.
  if (fields.boolean_or("use_bias", false)) fields.fail("use_bias", "must be false for ernie4_5");
  return decoder(config, fields,
                 {.context_max = 131072, .rope = {.theta = 500000, .interleaved = true}});
}

}  // namespace tandem::models::families
