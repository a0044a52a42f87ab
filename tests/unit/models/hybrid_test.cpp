// Qwen 3 Next and 3.5: published configs, refusals, what a state takes, and the two layouts of
// folders.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "models/architecture.h"
#include "models/model_bytes.h"
#include "unit/models/harness.h"
#include "unit/models/tiny_model.h"
#include "unit/stage/families.h"

namespace tandem::models {
namespace {

using nlohmann::json;
using testing::Chunk;
using ::testing::HasSubstr;
using testing::Machine;
using testing::Runner;
using testing::TempFolder;
using testing::TinyModel;

json qwen35_moe() {
  return {{"model_type", "qwen3_5_moe"},
          {"text_config",
           {{"model_type", "qwen3_5_moe_text"},
            {"attention_bias", false},
            {"attn_output_gate", true},
            {"head_dim", 256},
            {"hidden_act", "silu"},
            {"hidden_size", 2048},
            {"full_attention_interval", 4},
            {"linear_conv_kernel_dim", 4},
            {"linear_key_head_dim", 128},
            {"linear_num_key_heads", 16},
            {"linear_num_value_heads", 32},
            {"linear_value_head_dim", 128},
            {"max_position_embeddings", 262144},
            {"moe_intermediate_size", 512},
            {"num_attention_heads", 16},
            {"num_experts", 256},
            {"num_experts_per_tok", 8},
            {"num_hidden_layers", 40},
            {"num_key_value_heads", 2},
            {"rms_norm_eps", 1e-6},
            {"shared_expert_intermediate_size", 512},
            {"vocab_size", 248320},
            {"rope_parameters",
             {{"mrope_interleaved", true},
              {"mrope_section", {11, 11, 10}},
              {"rope_type", "default"},
              {"rope_theta", 10000000},
              {"partial_rotary_factor", 0.25}}}}}};
}

Result<config::ModelConfig> parsed(const json& fields) {
  return config::ModelConfig::parse(fields.dump(), "config.json");
}

Result<Architecture> of(const json& fields) {
  const auto config = parsed(fields);
  if (!config.ok()) return config.error();
  return architecture_of(*config);
}

TEST(Hybrid, Qwen35Mixture) {
  const auto model = of(qwen35_moe());
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_EQ(model->layers.size(), 40U);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(model->layers[i].recurrent, i % 4 != 3) << i;
    EXPECT_TRUE(model->layers[i].moe) << i;
  }
  ASSERT_TRUE(model->delta && model->moe);
  EXPECT_EQ(model->delta->heads, 32);
  EXPECT_FALSE(model->delta->fused);
  EXPECT_TRUE(model->moe->router.normalize);
  EXPECT_TRUE(model->moe->shared_gate);
  EXPECT_TRUE(std::get<GroupedAttention>(model->attention).gated);
  EXPECT_EQ(model->ropes[0].inverse_frequency.size(), 32U) << "a quarter of the head turns";
}

TEST(Hybrid, LayerTypesGoBeforeTheInterval) {
  json fields = qwen35_moe();
  json& text = fields["text_config"];
  text["num_hidden_layers"] = 3;
  text["layer_types"] = {"full_attention", "linear_attention", "full_attention"};
  const auto model = of(fields);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_FALSE(model->layers[0].recurrent);
  EXPECT_TRUE(model->layers[1].recurrent);
}

TEST(Hybrid, WhatWouldChangeTheResultIsRefusedByName) {
  const std::pair<const char*, json> wrong[] = {
      {"attn_output_gate", false},   {"output_gate_type", "sigmoid"},
      {"hidden_act", "gelu"},        {"linear_num_value_heads", 24},
      {"linear_conv_kernel_dim", 1}, {"layer_types", {"full_attention"}}};
  for (const auto& [field, value] : wrong) {
    json fields = qwen35_moe();
    fields["text_config"][field] = value;
    const auto model = of(fields);
    ASSERT_FALSE(model.ok()) << field;
    EXPECT_THAT(model.error().message, HasSubstr(field));
  }
}

TEST(Hybrid, AStateIsCountedByTheSequence) {
  const auto config = parsed(qwen35_moe());
  ASSERT_TRUE(config.ok());
  const auto bytes = model_bytes(*config, {true, kernels::Activations::kBF16});
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  const std::uint64_t inputs = 3 * (2 * 16 * 128 + 32 * 128) * 2;
  const std::uint64_t matrices = 32 * 128 * 128 * 4;
  EXPECT_EQ(bytes->state[0], inputs + matrices);
  EXPECT_EQ(bytes->kv_page[0], 0U);
  EXPECT_EQ(bytes->state[3], 0U);
  EXPECT_EQ(bytes->kv_page[3], 2U * 2 * 256 * 2 * 64);
  EXPECT_EQ(needs_of(*bytes, {0, 40}, 1).state, 30 * (inputs + matrices));
  EXPECT_EQ(bytes->work[0].depth_flops, 0);
  EXPECT_GT(bytes->work[3].depth_flops, 0);
}

/// mlx-lm's layout of a Hugging Face folder: norms with the one added, taps before the single
/// channel.
TinyModel converted(TinyModel model) {
  for (auto& [name, tensor] : model.tensors()) {
    if (name.ends_with("conv1d.weight")) std::swap(tensor.shape[1], tensor.shape[2]);
    const bool less_one =
        name.ends_with("norm.weight") && !name.ends_with("linear_attn.norm.weight");
    for (std::size_t at = 0; less_one && at < tensor.bytes.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, tensor.bytes.data() + at, sizeof(value));
      value += 1;
      std::memcpy(tensor.bytes.data() + at, &value, sizeof(value));
    }
  }
  return model;
}

TEST(Hybrid, BothLayoutsOfAFolderComputeTheSameBits) {
  for (const char* name : {"qwen3_5", "qwen3_5_moe", "qwen3_next"}) {
    const TinyModel model = stage::testing::family_model(name, 3, 0, 4);
    const TempFolder one("hybrid"), other("hybrid");
    model.write(one.path());
    converted(model).write(other.path());
    Machine machine(kernels::Activations::kF32);
    const std::vector<Chunk> batch = {{0, 0, {1, 5, 9, 20, 33, 7}}};
    Runner first(one.path(), {0, 3}, machine, 1, 64);
    Runner second(other.path(), {0, 3}, machine, 1, 64);
    EXPECT_EQ(first.run(batch), second.run(batch)) << name;
  }
}

}  // namespace
}  // namespace tandem::models
