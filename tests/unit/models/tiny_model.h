#pragma once
// Model folders with random weights, written by the tests themselves.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/dtype.h"

namespace tandem::models::testing {

using nlohmann::json;

/// A tensor to write.
struct TinyTensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

/// Draws tensors and writes folders. One generator, so that a seed names a model.
class TinyModel {
 public:
  TinyModel(json config, std::uint64_t seed) : config_(std::move(config)), random_(seed) {}

  json& config() { return config_; }
  std::map<std::string, TinyTensor>& tensors() { return tensors_; }

  /// float32 values around `mean`.
  void add(const std::string& name, std::vector<std::int64_t> shape, float spread, float mean = 0) {
    std::normal_distribution<float> normal(mean, spread);
    TinyTensor tensor{DType::kF32, std::move(shape), {}};
    std::int64_t count = 1;
    for (const std::int64_t size : tensor.shape) count *= size;
    for (std::int64_t i = 0; i < count; ++i) append(tensor.bytes, normal(random_));
    tensors_[name] = std::move(tensor);
  }

  void add_linear(const std::string& module, std::int64_t rows, std::int64_t cols,
                  std::int64_t count = 0) {
    std::vector<std::int64_t> shape{rows, cols};
    if (count > 0) shape.insert(shape.begin(), count);
    if (bits_ == 0 || cols % kGroup != 0) {
      add(module + ".weight", shape, 1.0F / std::sqrt(static_cast<float>(cols)));
      return;
    }
    // Any words are a quantized matrix; scales and biases centre it.
    shape.back() = cols * bits_ / 32;
    TinyTensor words{DType::kU32, shape, {}};
    std::int64_t total = 1;
    for (const std::int64_t size : shape) total *= size;
    for (std::int64_t i = 0; i < total; ++i) {
      append(words.bytes, static_cast<std::uint32_t>(random_()));
    }
    shape.back() = cols / kGroup;
    const float levels = static_cast<float>((1 << bits_) - 1);
    const float scale = 3.5F / (levels * std::sqrt(static_cast<float>(cols)));
    tensors_[module + ".weight"] = std::move(words);
    add(module + ".scales", shape, scale / 10, scale);
    add(module + ".biases", shape, scale / 10, -scale * levels / 2);
  }

  /// 0: dense.
  void quantize(int bits) {
    bits_ = bits;
    config_["quantization"] = {{"bits", bits}, {"group_size", kGroup}};
  }

  /// Writes config.json and the weights, odd and even tensors in two shards.
  void write(const std::filesystem::path& folder) const {
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "config.json") << config_.dump();
    json index = {{"weight_map", json::object()}};
    for (int shard = 0; shard < 2; ++shard) {
      const std::string file = "model-0000" + std::to_string(shard + 1) + "-of-00002.safetensors";
      json header = json::object();
      std::string data;
      int number = 0;
      for (const auto& [name, tensor] : tensors_) {
        if (number++ % 2 != shard) continue;
        header[name] = {{"dtype", dtype_name(tensor.dtype)},
                        {"shape", tensor.shape},
                        {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
        data += tensor.bytes;
        index["weight_map"][name] = file;
      }
      const std::string text = header.dump();
      const std::uint64_t length = text.size();
      std::ofstream out(folder / file, std::ios::binary);
      out.write(reinterpret_cast<const char*>(&length), sizeof(length));
      out << text << data;
    }
    std::ofstream(folder / "model.safetensors.index.json") << index.dump();
  }

 private:
  static constexpr int kGroup = 32;

  template <class T>
  static void append(std::string& bytes, T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  json config_;
  std::mt19937_64 random_;
  int bits_ = 0;
  std::map<std::string, TinyTensor> tensors_;
};

inline json common_config(const std::string& model_type, int layers) {
  return {{"model_type", model_type},
          {"hidden_size", 64},
          {"intermediate_size", 96},
          {"num_hidden_layers", layers},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"vocab_size", 40},
          {"rms_norm_eps", 1e-5},
          {"max_position_embeddings", 512},
          {"rope_theta", 10000.0},
          {"torch_dtype", "float32"},
          {"tie_word_embeddings", false}};
}

inline void add_mlp(TinyModel& model, const std::string& prefix, int width) {
  model.add_linear(prefix + "gate_proj", width, 64);
  model.add_linear(prefix + "up_proj", width, 64);
  model.add_linear(prefix + "down_proj", 64, width);
}

inline void add_experts(TinyModel& model, const std::string& prefix) {
  model.add_linear(prefix + "gate", 4, 64);
  model.add_linear(prefix + "switch_mlp.gate_proj", 32, 64, 4);
  model.add_linear(prefix + "switch_mlp.up_proj", 32, 64, 4);
  model.add_linear(prefix + "switch_mlp.down_proj", 64, 32, 4);
}

inline void add_ends(TinyModel& model, bool head) {
  model.add_linear("model.embed_tokens", 40, 64);
  model.add("model.norm.weight", {64}, 0.1F, 1);
  if (head) model.add_linear("lm_head", 40, 64);
}

/// Qwen 3 MoE (`experts`) or Qwen 3: grouped heads with norms. Odd layers of the former are dense.
inline TinyModel grouped_model(int layers, int bits, bool experts, std::uint64_t seed) {
  TinyModel model(common_config(experts ? "qwen3_moe" : "qwen3", layers), seed);
  model.config().update({{"head_dim", 16},
                         {"num_experts", 4},
                         {"num_experts_per_tok", 2},
                         {"moe_intermediate_size", 32},
                         {"norm_topk_prob", true}});
  if (experts) model.config()["mlp_only_layers"] = {1};
  if (bits > 0) model.quantize(bits);
  for (int i = 0; i < layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    model.add_linear(layer + "self_attn.q_proj", 64, 64);
    model.add_linear(layer + "self_attn.k_proj", 32, 64);
    model.add_linear(layer + "self_attn.v_proj", 32, 64);
    model.add_linear(layer + "self_attn.o_proj", 64, 64);
    model.add(layer + "self_attn.q_norm.weight", {16}, 0.1F, 1);
    model.add(layer + "self_attn.k_norm.weight", {16}, 0.1F, 1);
    model.add(layer + "input_layernorm.weight", {64}, 0.1F, 1);
    model.add(layer + "post_attention_layernorm.weight", {64}, 0.1F, 1);
    if (experts && i != 1) {
      add_experts(model, layer + "mlp.");
    } else {
      add_mlp(model, layer + "mlp.", 96);
    }
  }
  add_ends(model, true);
  return model;
}

/// DeepSeek-V3 with latent attention, a dense first layer and kv_b_proj in one piece.
inline TinyModel latent_model(int layers, int bits, std::uint64_t seed) {
  TinyModel model(common_config("deepseek_v3", layers), seed);
  model.config().update({{"kv_lora_rank", 32},
                         {"q_lora_rank", 32},
                         {"qk_nope_head_dim", 16},
                         {"qk_rope_head_dim", 8},
                         {"v_head_dim", 16},
                         {"n_routed_experts", 4},
                         {"n_shared_experts", 1},
                         {"num_experts_per_tok", 2},
                         {"moe_intermediate_size", 32},
                         {"first_k_dense_replace", 1}});
  if (bits > 0) model.quantize(bits);
  for (int i = 0; i < layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    model.add_linear(layer + "self_attn.q_a_proj", 32, 64);
    model.add_linear(layer + "self_attn.q_b_proj", 4 * 24, 32);
    model.add_linear(layer + "self_attn.kv_a_proj_with_mqa", 40, 64);
    model.add_linear(layer + "self_attn.kv_b_proj", 4 * 32, 32);
    model.add_linear(layer + "self_attn.o_proj", 64, 64);
    model.add(layer + "self_attn.q_a_layernorm.weight", {32}, 0.1F, 1);
    model.add(layer + "self_attn.kv_a_layernorm.weight", {32}, 0.1F, 1);
    model.add(layer + "input_layernorm.weight", {64}, 0.1F, 1);
    model.add(layer + "post_attention_layernorm.weight", {64}, 0.1F, 1);
    if (i == 0) {
      add_mlp(model, layer + "mlp.", 96);
      continue;
    }
    add_experts(model, layer + "mlp.");
    model.add(layer + "mlp.gate.e_score_correction_bias", {4}, 0.1F);
    add_mlp(model, layer + "mlp.shared_experts.", 32);
  }
  add_ends(model, true);
  return model;
}

/// A folder that goes away with the test.
class TempFolder {
 public:
  explicit TempFolder(std::string_view name)
      : path_(std::filesystem::temp_directory_path() /
              (std::string("tandem-models-") + std::string(name) + "-" +
               std::to_string(std::random_device{}()))) {}
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace tandem::models::testing
