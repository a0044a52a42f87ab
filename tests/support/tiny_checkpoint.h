#pragma once
// Tiny random checkpoints for tests that need a whole model.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/safetensors_writer.h"
#include "tandem/dtype.h"

namespace tandem::testing {

/// A checkpoint in the making. Linear weights are dense float32, or MLX's 4-bit groups of 32.
class TinyCheckpoint {
 public:
  static constexpr int kVocabulary = 96;
  static constexpr int kHidden = 64;

  TinyCheckpoint(unsigned seed, bool quantized) : random_(seed), quantized_(quantized) {}

  /// Grouped heads over `layers` layers, untied head.
  static TinyCheckpoint llama(int layers, bool quantized, unsigned seed = 1) {
    TinyCheckpoint made(seed, quantized);
    made.config_ = {{"model_type", "llama"},          {"hidden_size", kHidden},
                    {"num_hidden_layers", layers},    {"intermediate_size", 96},
                    {"num_attention_heads", 4},       {"num_key_value_heads", 2},
                    {"vocab_size", kVocabulary},      {"rms_norm_eps", 1e-5},
                    {"max_position_embeddings", 512}, {"rope_theta", 10000.0},
                    {"tie_word_embeddings", false},   {"torch_dtype", "float32"}};
    made.frame();
    for (int i = 0; i < layers; ++i) {
      const std::string layer = made.norms(i);
      made.linear(layer + "self_attn.q_proj", kHidden, kHidden);
      made.linear(layer + "self_attn.k_proj", kHidden / 2, kHidden);
      made.linear(layer + "self_attn.v_proj", kHidden / 2, kHidden);
      made.linear(layer + "self_attn.o_proj", kHidden, kHidden);
      made.mlp(layer + "mlp.", 96);
    }
    return made;
  }

  /// Latent attention; the first layer dense, the others routed experts with a shared one.
  static TinyCheckpoint deepseek_v3(int layers, bool quantized, unsigned seed = 1) {
    constexpr int kHeads = 2, kQRank = 32, kKvRank = 32, kNope = 32, kRope = 16, kValue = 32;
    constexpr int kExperts = 8, kWidth = 32;
    TinyCheckpoint made(seed, quantized);
    made.config_ = {{"model_type", "deepseek_v3"},
                    {"hidden_size", kHidden},
                    {"num_hidden_layers", layers},
                    {"intermediate_size", 96},
                    {"moe_intermediate_size", kWidth},
                    {"num_attention_heads", kHeads},
                    {"num_key_value_heads", kHeads},
                    {"vocab_size", kVocabulary},
                    {"rms_norm_eps", 1e-6},
                    {"max_position_embeddings", 512},
                    {"rope_theta", 10000.0},
                    {"q_lora_rank", kQRank},
                    {"kv_lora_rank", kKvRank},
                    {"qk_nope_head_dim", kNope},
                    {"qk_rope_head_dim", kRope},
                    {"v_head_dim", kValue},
                    {"n_routed_experts", kExperts},
                    {"n_shared_experts", 1},
                    {"num_experts_per_tok", 2},
                    {"n_group", 2},
                    {"topk_group", 1},
                    {"topk_method", "noaux_tc"},
                    {"scoring_func", "sigmoid"},
                    {"norm_topk_prob", true},
                    {"routed_scaling_factor", 2.5},
                    {"first_k_dense_replace", 1},
                    {"moe_layer_freq", 1},
                    {"attention_bias", false},
                    {"tie_word_embeddings", false},
                    {"torch_dtype", "float32"}};
    made.frame();
    for (int i = 0; i < layers; ++i) {
      const std::string layer = made.norms(i);
      const std::string attention = layer + "self_attn.";
      made.linear(attention + "q_a_proj", kQRank, kHidden);
      made.norm(attention + "q_a_layernorm", kQRank);
      made.linear(attention + "q_b_proj", kHeads * (kNope + kRope), kQRank);
      made.linear(attention + "kv_a_proj_with_mqa", kKvRank + kRope, kHidden);
      made.norm(attention + "kv_a_layernorm", kKvRank);
      made.linear(attention + "kv_b_proj", kHeads * (kNope + kValue), kKvRank);
      made.linear(attention + "o_proj", kHidden, kHeads * kValue);
      if (i == 0) {
        made.mlp(layer + "mlp.", 96);
        continue;
      }
      made.dense(layer + "mlp.gate.weight", {kExperts, kHidden}, 0.3F);
      made.dense(layer + "mlp.gate.e_score_correction_bias", {kExperts}, 0.1F);
      for (int expert = 0; expert < kExperts; ++expert) {
        made.mlp(layer + "mlp.experts." + std::to_string(expert) + ".", kWidth);
      }
      made.mlp(layer + "mlp.shared_experts.", kWidth);
    }
    return made;
  }

  /// misalign: bytes that the data begins beyond a multiple of 8.
  void write(const std::filesystem::path& folder, int misalign = 0) const {
    std::filesystem::create_directories(folder);
    nlohmann::json config = config_;
    if (quantized_) config["quantization"] = {{"group_size", 32}, {"bits", 4}};
    write_file(folder / "config.json", config.dump());
    write_file(folder / "model.safetensors", safetensors_file(tensors_, misalign));
  }

  std::map<std::string, FileTensor>& tensors() { return tensors_; }
  nlohmann::json& config() { return config_; }

 private:
  void frame() {
    linear("model.embed_tokens", kVocabulary, kHidden, 1);
    norm("model.norm", kHidden);
    linear("lm_head", kVocabulary, kHidden);
  }
  std::string norms(int i) {
    std::string layer = "model.layers." + std::to_string(i) + ".";
    norm(layer + "input_layernorm", kHidden);
    norm(layer + "post_attention_layernorm", kHidden);
    return layer;
  }
  void mlp(const std::string& prefix, int width) {
    linear(prefix + "gate_proj", width, kHidden);
    linear(prefix + "up_proj", width, kHidden);
    linear(prefix + "down_proj", kHidden, width);
  }
  void norm(const std::string& name, int n) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) value = 1 + 0.1F * normal();
    tensors_[name + ".weight"] = f32_tensor({n}, values);
  }
  void dense(const std::string& name, std::vector<std::int64_t> shape, float scale) {
    std::size_t size = 1;
    for (const auto side : shape) size *= static_cast<std::size_t>(side);
    std::vector<float> values(size);
    for (float& value : values) value = scale * normal();
    tensors_[name] = f32_tensor(std::move(shape), values);
  }
  void linear(const std::string& name, int rows, int cols, float gain = 0) {
    const float deviation = gain != 0 ? gain : 1.5F / std::sqrt(static_cast<float>(cols));
    if (!quantized_) return dense(name + ".weight", {rows, cols}, deviation);
    FileTensor words{
        DType::kU32, {rows, cols / 8}, std::string(static_cast<std::size_t>(rows) * cols / 2, 0)};
    for (char& byte : words.bytes) byte = static_cast<char>(random_());
    tensors_[name + ".weight"] = std::move(words);
    // q is uniform in [0, 15]: mean 7.5, deviation 4.6.
    const auto groups = static_cast<std::size_t>(rows) * cols / 32;
    std::vector<float> scales(groups);
    std::vector<float> biases(groups);
    for (std::size_t i = 0; i < groups; ++i) {
      scales[i] = deviation / 4.6F * (1 + 0.2F * normal());
      biases[i] = -7.5F * scales[i];
    }
    tensors_[name + ".scales"] = f32_tensor({rows, cols / 32}, scales);
    tensors_[name + ".biases"] = f32_tensor({rows, cols / 32}, biases);
  }
  float normal() { return std::normal_distribution<float>(0, 1)(random_); }

  std::mt19937 random_;
  bool quantized_;
  nlohmann::json config_;
  std::map<std::string, FileTensor> tensors_;
};

}  // namespace tandem::testing
