// Families that are others under another name: published configs and what they must not say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "models/architecture.h"

namespace tandem::models {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

Result<Architecture> of(const json& fields) {
  auto config = config::ModelConfig::parse(fields.dump(), "config.json");
  if (!config.ok()) return config.error();
  return architecture_of(*config);
}

Architecture must(const json& fields) {
  auto made = of(fields);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  return made.ok() ? *made : Architecture{};
}

std::string refusal(json fields, const char* name, json value) {
  fields[name] = std::move(value);
  auto made = of(fields);
  EXPECT_FALSE(made.ok()) << name;
  return made.ok() ? "" : made.error().message;
}

json glm_4_5_air() {
  return {{"model_type", "glm4_moe"},
          {"hidden_size", 4096},
          {"intermediate_size", 10944},
          {"moe_intermediate_size", 1408},
          {"num_hidden_layers", 46},
          {"num_attention_heads", 96},
          {"num_key_value_heads", 8},
          {"head_dim", 128},
          {"n_group", 1},
          {"topk_group", 1},
          {"n_shared_experts", 1},
          {"n_routed_experts", 128},
          {"num_experts_per_tok", 8},
          {"routed_scaling_factor", 1.0},
          {"first_k_dense_replace", 1},
          {"norm_topk_prob", true},
          {"num_nextn_predict_layers", 1},
          {"attention_bias", true},
          {"partial_rotary_factor", 0.5},
          {"rope_scaling", nullptr},
          {"rope_theta", 1000000},
          {"use_qk_norm", false},
          {"vocab_size", 151552},
          {"rms_norm_eps", 1e-5},
          {"max_position_embeddings", 131072},
          {"tie_word_embeddings", false}};
}

TEST(Variants, Glm45Air) {
  const Architecture model = must(glm_4_5_air());
  const auto& attention = std::get<GroupedAttention>(model.attention);
  EXPECT_EQ(attention.head_dim, 128);
  EXPECT_TRUE(attention.qkv_bias);
  EXPECT_FALSE(attention.out_bias);
  EXPECT_FALSE(attention.head_norms);
  EXPECT_EQ(model.ropes[0].inverse_frequency.size(), 32U);
  EXPECT_FALSE(model.layers[0].moe);
  EXPECT_TRUE(model.layers[1].moe);
  EXPECT_EQ(model.extra_layers, 1);
  ASSERT_TRUE(model.moe.has_value());
  EXPECT_EQ(model.moe->shared_width, 1408);
  EXPECT_EQ(model.moe->router.score, kernels::RouterSpec::Score::kSigmoid);
  EXPECT_TRUE(model.moe->router.normalize);
}

TEST(Variants, WhatAFamilyAssumes) {
  json fields = glm_4_5_air();
  for (const char* name : {"partial_rotary_factor", "attention_bias", "n_shared_experts",
                           "first_k_dense_replace", "use_qk_norm"}) {
    fields.erase(name);
  }
  const Architecture glm = must(fields);
  EXPECT_EQ(glm.ropes[0].inverse_frequency.size(), 32U);
  EXPECT_FALSE(std::get<GroupedAttention>(glm.attention).qkv_bias);
  EXPECT_FALSE(glm.layers[0].moe);
  EXPECT_EQ(glm.moe->shared_width, 1408);

  fields["model_type"] = "solar_open";
  fields.erase("intermediate_size");
  fields["n_shared_experts"] = 1;
  const Architecture solar = must(fields);
  EXPECT_EQ(solar.ropes[0].inverse_frequency.size(), 64U);
  EXPECT_TRUE(solar.layers[0].moe);

  fields["model_type"] = "dots1";
  fields["intermediate_size"] = 10944;
  fields["scoring_func"] = "noaux_tc";
  fields.erase("norm_topk_prob");
  const Architecture dots = must(fields);
  EXPECT_TRUE(std::get<GroupedAttention>(dots.attention).head_norms);
  EXPECT_FALSE(dots.moe->router.normalize);
  EXPECT_TRUE(dots.layers[0].moe);
  EXPECT_EQ(dots.layers[45].window, 0);
}

TEST(Variants, Ernie45Moe) {
  const json fields = {{"model_type", "ernie4_5_moe"}, {"hidden_size", 2560},
                       {"intermediate_size", 12288},   {"moe_intermediate_size", 1536},
                       {"num_hidden_layers", 28},      {"num_attention_heads", 20},
                       {"num_key_value_heads", 4},     {"vocab_size", 103424},
                       {"moe_num_experts", 64},        {"moe_k", 6},
                       {"moe_layer_start_index", 1},   {"moe_layer_end_index", 26},
                       {"moe_num_shared_experts", 2}};
  const Architecture model = must(fields);
  EXPECT_TRUE(model.ropes[0].interleaved);
  EXPECT_FALSE(model.layers[0].moe);
  EXPECT_TRUE(model.layers[26].moe);
  EXPECT_FALSE(model.layers[27].moe);
  EXPECT_EQ(model.moe->shared_width, 3072);
  EXPECT_TRUE(model.moe->correction);
  EXPECT_TRUE(model.names.correction_optional);
  EXPECT_EQ(model.context_max, 131072);
  EXPECT_THAT(refusal(fields, "use_bias", true), HasSubstr("use_bias must be false"));
  EXPECT_THAT(refusal(fields, "moe_gate_act", "sigmoid"), HasSubstr("moe_gate_act must be"));
}

TEST(Variants, WhatIsNotSupportedIsNamed) {
  const json glm = glm_4_5_air();
  EXPECT_THAT(refusal(glm, "topk_method", "greedy"), HasSubstr("topk_method must be \"noaux_tc\""));
  EXPECT_THAT(refusal(glm, "scoring_func", "softmax"), HasSubstr("scoring_func must be"));
  EXPECT_THAT(refusal(glm, "num_experts_per_tok", 129), HasSubstr("num_experts_per_tok"));
  json solar = glm;
  solar["model_type"] = "solar_open";
  EXPECT_THAT(refusal(solar, "first_k_dense_replace", 1), HasSubstr("first_k_dense_replace"));
  json quest = glm;
  quest["model_type"] = "iquestcoder";
  EXPECT_THAT(refusal(quest, "clip_qkv", 8), HasSubstr("clip_qkv must be null"));
  EXPECT_THAT(refusal(quest, "use_sliding_window", true),
              HasSubstr("use_sliding_window must be false"));
}

TEST(Variants, GlmFlashNamesItsDenseLayers) {
  json fields = glm_4_5_air();
  fields["model_type"] = "glm4_moe_lite";
  fields["num_hidden_layers"] = 3;
  for (const auto& [name, value] : {std::pair{"q_lora_rank", 768}, std::pair{"kv_lora_rank", 512},
                                    std::pair{"qk_rope_head_dim", 64}, std::pair{"v_head_dim", 256},
                                    std::pair{"qk_nope_head_dim", 192}}) {
    fields[name] = value;
  }
  EXPECT_FALSE(must(fields).layers[0].moe);
  fields["mlp_layer_types"] = {"sparse", "dense", "sparse"};
  const Architecture model = must(fields);
  EXPECT_TRUE(model.layers[0].moe);
  EXPECT_FALSE(model.layers[1].moe);
  EXPECT_THAT(refusal(fields, "mlp_layer_types", {"sparse"}), HasSubstr("must name 3 layers"));
  EXPECT_THAT(refusal(fields, "mlp_layer_types", {"sparse", "wide", "dense"}),
              HasSubstr("\"wide\" is not supported"));
}

}  // namespace
}  // namespace tandem::models
