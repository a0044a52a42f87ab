#include "models/families/common.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace tandem::models::families {

using kernels::GatedActivation;

namespace {

int required_or(config::FieldReader& fields, std::string_view name, std::optional<int> fallback,
                int max) {
  return fallback ? fields.integer_or(name, *fallback, 1, max) : fields.integer(name, 1, max);
}

}  // namespace

GatedActivation read_act(config::FieldReader& fields, const Defaults& defaults) {
  const std::string act = fields.string_or(defaults.act_field, defaults.act);
  if (act == "silu" || act == "swish") return GatedActivation::kSwiGlu;
  if (act == "gelu_pytorch_tanh" || act == "gelu_new") return GatedActivation::kGeGluTanh;
  if (act == "gelu") return GatedActivation::kGeGlu;
  fields.fail(defaults.act_field, fmt::format("\"{}\" is not supported; known: gelu, "
                                              "gelu_pytorch_tanh, silu",
                                              act));
  return GatedActivation::kSwiGlu;
}

Architecture read_sizes(config::FieldReader& fields, const Defaults& defaults) {
  Architecture sizes;
  sizes.hidden = fields.integer("hidden_size", 1, kMaxHidden);
  sizes.layer_count = fields.integer("num_hidden_layers", 1, kMaxLayers);
  sizes.vocabulary = required_or(fields, "vocab_size", defaults.vocabulary, kMaxVocabulary);
  sizes.context_max =
      fields.integer_or("max_position_embeddings", defaults.context_max, 1, kMaxContext);
  sizes.norm_epsilon = static_cast<float>(fields.number_or("rms_norm_eps", 1e-6, 0, 1));
  if (defaults.dense_mlp) sizes.mlp.width = fields.integer("intermediate_size", 1, kMaxWidth);
  sizes.mlp.act = read_act(fields, defaults);
  sizes.tied = read_tied(fields);
  if (fields.status().ok()) sizes.layers.resize(static_cast<std::size_t>(sizes.layer_count));
  return sizes;
}

GroupedAttention read_heads(config::FieldReader& fields, const Architecture& sizes,
                            const Defaults& defaults) {
  GroupedAttention out;
  out.heads = required_or(fields, "num_attention_heads", defaults.heads, kMaxHeads);
  out.kv_heads =
      fields.integer_or("num_key_value_heads", defaults.kv_heads.value_or(out.heads), 1, kMaxHeads);
  out.head_dim = fields.integer_or("head_dim", defaults.head_dim.value_or(0), 1, kMaxHeadDim);
  if (!fields.status().ok()) return out;
  if (out.heads % out.kv_heads != 0) {
    fields.fail("num_key_value_heads",
                fmt::format("must divide num_attention_heads {}, not {}", out.heads, out.kv_heads));
  }
  if (out.head_dim == 0) {
    if (sizes.hidden % out.heads != 0) {
      fields.fail("num_attention_heads",
                  fmt::format("must divide hidden_size {}, not {}", sizes.hidden, out.heads));
    }
    out.head_dim = std::max(1, sizes.hidden / out.heads);
  }
  out.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(out.head_dim)));
  return out;
}

void add_rope(config::FieldReader& fields, Architecture& model, int head_dim,
              const RopeDefaults& defaults) {
  RopeGeometry geometry;
  geometry.head_dim = head_dim;
  geometry.context_max = model.context_max;
  geometry.original_context =
      fields.integer_or("original_max_position_embeddings", 0, 1, kMaxContext);
  geometry.theta = fields.number_or("rope_theta", defaults.theta, 1, 1e15);
  geometry.partial = fields.number_or("partial_rotary_factor", defaults.partial, 0, 1);
  geometry.interleaved = fields.boolean_or("rope_traditional", defaults.interleaved);
  model.ropes.push_back(rope_table(rope_parameters(fields), geometry, fields));
  model.context_max = scaled_context(rope_parameters(fields), geometry);
}

int read_window(const config::ModelConfig& config, config::FieldReader& fields, int fallback) {
  if (!config.fields.contains("sliding_window")) return fallback;
  return fields.integer_or("sliding_window", 0, 1, kMaxContext);
}

std::vector<bool> apply_windows(config::FieldReader& fields, Architecture& sizes, int window,
                                const std::function<bool(int layer)>& rule) {
  const std::vector<std::string> types = fields.strings_or_empty("layer_types");
  std::vector<bool> sliding(sizes.layers.size(), false);
  if (!types.empty() && types.size() != sizes.layers.size()) {
    fields.fail("layer_types",
                fmt::format("must name {} layers, not {}", sizes.layers.size(), types.size()));
    return sliding;
  }
  for (std::size_t i = 0; i < sizes.layers.size(); ++i) {
    sliding[i] = types.empty() ? rule(static_cast<int>(i)) : types[i] == "sliding_attention";
    if (!types.empty() && !sliding[i] && types[i] != "full_attention") {
      fields.fail("layer_types", fmt::format("\"{}\" is not supported; known: full_attention, "
                                             "sliding_attention",
                                             types[i]));
    }
    if (sliding[i]) sizes.layers[i].window = window;
  }
  return sliding;
}

void apply_sparse_steps(config::FieldReader& fields, Architecture& sizes) {
  const int step = fields.integer_or("decoder_sparse_step", 1, 1, kMaxLayers);
  const auto dense = fields.integers_or_empty("mlp_only_layers");
  for (int i = 0; i < static_cast<int>(sizes.layers.size()); ++i) {
    const bool only_mlp = std::find(dense.begin(), dense.end(), i) != dense.end();
    sizes.layers[static_cast<std::size_t>(i)].moe = !only_mlp && (i + 1) % step == 0;
  }
}

std::optional<bool> read_tied(config::FieldReader& fields) {
  if (!fields.has("tie_word_embeddings")) return std::nullopt;
  return fields.boolean("tie_word_embeddings");
}

}  // namespace tandem::models::families
