#pragma once
// A tiny random model of every family that runs, with what tells it apart: windows, soft caps,
// biases, fused projections, norms, experts, latent attention.

#include <cstdint>
#include <string>
#include <vector>

#include "unit/models/tiny_model.h"

namespace tandem::stage::testing {

using models::testing::add_experts;
using models::testing::add_mlp;
using models::testing::TinyModel;

inline constexpr int kFamilyVocabulary = 96;
/// Of families that have windows: one ends inside a KV page.
inline constexpr int kFamilyWindow = 70;

/// How a family with grouped heads differs from llama.
struct GroupedFamily {
  bool qkv_bias = false;
  bool head_norms = false;
  bool fused = false;      // projections of attention and of the MLP
  bool sandwich = false;   // Gemma's norms, less one, and its tied head
  bool w_experts = false;  // Mixtral's
  int first_experts = -1;  // the first layer with experts and a shared one; -1: none
  std::string correction = "gate.e_score_correction_bias";  // theirs, within the module
  nlohmann::json config = {};                               // over the common fields
};

/// DeepSeek-V3's experts after grouped attention.
inline GroupedFamily noaux_family(const std::string& name) {
  GroupedFamily family{.head_norms = name != "solar_open",
                       .first_experts = name == "solar_open" ? 0 : 1,
                       .config = {{"head_dim", 16},
                                  {"n_routed_experts", 4},
                                  {"n_shared_experts", 1},
                                  {"num_experts_per_tok", 2},
                                  {"moe_intermediate_size", 32}}};
  if (name == "glm4_moe") {
    family.qkv_bias = true;
    family.config.update(
        {{"attention_bias", true}, {"use_qk_norm", true}, {"n_group", 2}, {"topk_group", 1}});
  }
  if (name == "dots1") {
    family.config.update({{"first_k_dense_replace", 1},
                          {"sliding_window", kFamilyWindow},
                          {"max_window_layers", 1}});
  }
  return family;
}

inline GroupedFamily grouped_family(const std::string& name) {
  if (name == "llama" || name == "ernie4_5" || name == "iquestcoder") return {};
  if (name == "glm4_moe" || name == "solar_open" || name == "dots1") return noaux_family(name);
  if (name == "ernie4_5_moe") {
    return {.first_experts = 1,
            .correction = "moe_statics.e_score_correction_bias",
            .config = {{"moe_num_experts", 4},
                       {"moe_k", 2},
                       {"moe_num_shared_experts", 1},
                       {"moe_intermediate_size", 32}}};
  }
  if (name == "seed_oss") return {.qkv_bias = true, .config = {{"head_dim", 16}}};
  if (name == "mimo" || name.starts_with("qwen2_")) return {.qkv_bias = true};
  if (name == "mistral") return {.config = {{"sliding_window", kFamilyWindow}}};
  if (name == "mixtral") {
    return {.w_experts = true,
            .config = {{"num_local_experts", 4}, {"sliding_window", kFamilyWindow}}};
  }
  if (name == "phi3") return {.fused = true, .config = {{"sliding_window", kFamilyWindow}}};
  if (name == "qwen2") {
    return {.qkv_bias = true,
            .config = {{"use_sliding_window", true},
                       {"sliding_window", kFamilyWindow},
                       {"max_window_layers", 2}}};
  }
  const nlohmann::json gemma = {{"head_dim", 16},
                                {"query_pre_attn_scalar", 16},
                                {"sliding_window", kFamilyWindow},
                                {"tie_word_embeddings", true},
                                {"attn_logit_softcapping", 20},
                                {"final_logit_softcapping", 30}};
  GroupedFamily family{.sandwich = true, .config = gemma};
  if (name == "gemma3_text") {
    family.head_norms = true;
    family.config["sliding_window_pattern"] = 2;
  }
  return family;
}

inline void add_grouped_layer(TinyModel& model, const GroupedFamily& family, int index) {
  const std::string layer = "model.layers." + std::to_string(index) + ".";
  const float norm = family.sandwich ? 0 : 1;
  const std::string attention = layer + "self_attn.";
  if (family.fused) {
    model.add_linear(attention + "qkv_proj", 128, 64);
    model.add_linear(layer + "mlp.gate_up_proj", 192, 64);
    model.add_linear(layer + "mlp.down_proj", 64, 96);
  } else {
    model.add_linear(attention + "q_proj", 64, 64);
    model.add_linear(attention + "k_proj", 32, 64);
    model.add_linear(attention + "v_proj", 32, 64);
  }
  if (family.qkv_bias) {
    model.add(attention + "q_proj.bias", {64}, 0.3F);
    model.add(attention + "k_proj.bias", {32}, 0.3F);
    model.add(attention + "v_proj.bias", {32}, 0.3F);
  }
  model.add_linear(attention + "o_proj", 64, 64);
  if (family.head_norms) {
    model.add(attention + "q_norm.weight", {16}, 0.1F, norm);
    model.add(attention + "k_norm.weight", {16}, 0.1F, norm);
  }
  for (const char* name : {"input_layernorm", "post_attention_layernorm"}) {
    model.add(layer + name + ".weight", {64}, 0.1F, norm);
  }
  if (family.sandwich) {
    model.add(layer + "pre_feedforward_layernorm.weight", {64}, 0.1F, norm);
    model.add(layer + "post_feedforward_layernorm.weight", {64}, 0.1F, norm);
  }
  if (family.first_experts >= 0 && index >= family.first_experts) {
    add_experts(model, layer + "mlp.");
    model.add(layer + "mlp." + family.correction, {1, 4}, 0.1F);
    add_mlp(model, layer + "mlp.shared_experts.", 32);
  } else if (family.w_experts) {
    const std::string mixture = layer + "block_sparse_moe.";
    model.add_linear(mixture + "gate", 4, 64);
    for (int expert = 0; expert < 4; ++expert) {
      const std::string own = mixture + "experts." + std::to_string(expert) + ".";
      model.add_linear(own + "w1", 96, 64);
      model.add_linear(own + "w2", 64, 96);
      model.add_linear(own + "w3", 96, 64);
    }
  } else if (!family.fused) {
    add_mlp(model, layer + "mlp.", 96);
  }
}

inline void add_family_ends(TinyModel& model, float norm, bool head) {
  model.add_linear("model.embed_tokens", kFamilyVocabulary, 64);
  model.add("model.norm.weight", {64}, 0.1F, norm);
  if (head) model.add_linear("lm_head", kFamilyVocabulary, 64);
}

inline bool latent_family(const std::string& name) {
  return name.starts_with("deepseek") || name == "kimi_k2" || name == "glm4_moe_lite";
}

/// Qwen 3's and DeepSeek's kinds are those of the model tests, with this vocabulary; DeepSeek
/// routes within groups of experts.
inline TinyModel known_family(const std::string& name, int layers, int bits, std::uint64_t seed) {
  const bool latent = latent_family(name);
  const bool experts = name == "qwen3_moe" || name == "qwen3_vl_moe_text";
  TinyModel model = latent ? models::testing::latent_model(layers, bits, seed)
                           : models::testing::grouped_model(layers, bits, experts, seed);
  model.config().update({{"model_type", name}, {"vocab_size", kFamilyVocabulary}});
  if (latent) model.config().update({{"n_group", 2}, {"topk_group", 1}});
  if (name == "deepseek_v2") {
    model.config()["topk_method"] = "group_limited_greedy";
    std::erase_if(model.tensors(), [](const auto& tensor) {
      return tensor.first.ends_with("e_score_correction_bias");
    });
  }
  add_family_ends(model, 1, true);
  return model;
}

inline bool hybrid_family(const std::string& name) {
  return name.starts_with("qwen3_5") || name == "qwen3_next";
}

/// A gated delta net of 4 heads of 16 x 24, which its tiles do not divide.
inline void add_delta(TinyModel& model, const std::string& prefix, bool fused, bool hugging_face) {
  if (fused) {
    model.add_linear(prefix + "in_proj_qkvz", 256, 64);
    model.add_linear(prefix + "in_proj_ba", 8, 64);
  } else {
    model.add_linear(prefix + "in_proj_qkv", 160, 64);
    model.add_linear(prefix + "in_proj_z", 96, 64);
    model.add_linear(prefix + "in_proj_b", 4, 64);
    model.add_linear(prefix + "in_proj_a", 4, 64);
  }
  using Shape = std::vector<std::int64_t>;
  model.add(prefix + "conv1d.weight", hugging_face ? Shape{160, 1, 4} : Shape{160, 4, 1}, 0.5F);
  model.add(prefix + "A_log", {4}, 0.5F);
  model.add(prefix + "dt_bias", {4}, 0.3F);
  model.add(prefix + "norm.weight", {24}, 0.1F, 1);
  model.add_linear(prefix + "out_proj", 64, 96);
}

/// Every other layer attends. Names that end in _text are mlx-lm's folders, the others Hugging
/// Face's.
inline TinyModel hybrid_model(const std::string& name, int layers, int bits, std::uint64_t seed) {
  TinyModel model(models::testing::common_config(name, layers), seed);
  const bool hugging_face = !name.ends_with("_text");
  const bool experts = name != "qwen3_5" && name != "qwen3_5_text";
  const float norm = hugging_face ? 0 : 1;
  model.config().update({{"vocab_size", kFamilyVocabulary},
                         {"head_dim", 16},
                         {"linear_num_key_heads", 2},
                         {"linear_num_value_heads", 4},
                         {"linear_key_head_dim", 16},
                         {"linear_value_head_dim", 24},
                         {"full_attention_interval", 2},
                         {"num_experts", 4},
                         {"num_experts_per_tok", 2},
                         {"moe_intermediate_size", 32},
                         {"shared_expert_intermediate_size", 32}});
  if (bits > 0) model.quantize(bits);
  for (int i = 0; i < layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    if (i % 2 == 0) {
      add_delta(model, layer + "linear_attn.", name == "qwen3_next", hugging_face);
    } else {
      model.add_linear(layer + "self_attn.q_proj", 128, 64);
      model.add_linear(layer + "self_attn.k_proj", 32, 64);
      model.add_linear(layer + "self_attn.v_proj", 32, 64);
      model.add_linear(layer + "self_attn.o_proj", 64, 64);
      model.add(layer + "self_attn.q_norm.weight", {16}, 0.1F, norm);
      model.add(layer + "self_attn.k_norm.weight", {16}, 0.1F, norm);
    }
    model.add(layer + "input_layernorm.weight", {64}, 0.1F, norm);
    model.add(layer + "post_attention_layernorm.weight", {64}, 0.1F, norm);
    if (experts) {
      add_experts(model, layer + "mlp.");
      add_mlp(model, layer + "mlp.shared_expert.", 32);
      model.add_linear(layer + "mlp.shared_expert_gate", 1, 64);
    } else {
      add_mlp(model, layer + "mlp.", 96);
    }
  }
  add_family_ends(model, norm, true);
  return model;
}

/// `name`: a model_type. bits: 0: dense float32 weights, else MLX's groups of 32.
inline TinyModel family_model(const std::string& name, int layers, int bits, std::uint64_t seed) {
  if (hybrid_family(name)) return hybrid_model(name, layers, bits, seed);
  if (latent_family(name) || name.starts_with("qwen3")) {
    return known_family(name, layers, bits, seed);
  }
  const GroupedFamily family = grouped_family(name);
  TinyModel model(models::testing::common_config(name, layers), seed);
  model.config()["vocab_size"] = kFamilyVocabulary;
  if (!family.config.is_null()) model.config().update(family.config);
  if (bits > 0) model.quantize(bits);
  for (int i = 0; i < layers; ++i) {
    add_grouped_layer(model, family, i);
  }
  add_family_ends(model, family.sandwich ? 0 : 1, !family.sandwich);
  return model;
}

}  // namespace tandem::stage::testing
