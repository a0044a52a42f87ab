#include "models/architecture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

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

std::string refusal(const json& fields) {
  auto made = of(fields);
  EXPECT_FALSE(made.ok());
  return made.ok() ? "" : made.error().message;
}

json llama() {
  return {{"model_type", "llama"},
          {"hidden_size", 2048},
          {"intermediate_size", 8192},
          {"num_hidden_layers", 16},
          {"num_attention_heads", 32},
          {"num_key_value_heads", 8},
          {"head_dim", 64},
          {"vocab_size", 128256},
          {"max_position_embeddings", 131072},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 500000.0},
          {"tie_word_embeddings", true},
          {"rope_scaling",
           {{"rope_type", "llama3"},
            {"factor", 32.0},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 8192}}}};
}

json deepseek_v3() {
  return {{"model_type", "deepseek_v3"},
          {"hidden_size", 7168},
          {"intermediate_size", 18432},
          {"moe_intermediate_size", 2048},
          {"num_hidden_layers", 61},
          {"num_attention_heads", 128},
          {"num_key_value_heads", 128},
          {"n_shared_experts", 1},
          {"n_routed_experts", 256},
          {"routed_scaling_factor", 2.5},
          {"kv_lora_rank", 512},
          {"q_lora_rank", 1536},
          {"qk_rope_head_dim", 64},
          {"v_head_dim", 128},
          {"qk_nope_head_dim", 128},
          {"topk_method", "noaux_tc"},
          {"n_group", 8},
          {"topk_group", 4},
          {"num_experts_per_tok", 8},
          {"first_k_dense_replace", 3},
          {"norm_topk_prob", true},
          {"scoring_func", "sigmoid"},
          {"vocab_size", 129280},
          {"rms_norm_eps", 1e-6},
          {"max_position_embeddings", 163840},
          {"rope_theta", 10000},
          {"rope_scaling",
           {{"type", "yarn"},
            {"factor", 40},
            {"original_max_position_embeddings", 4096},
            {"beta_fast", 32},
            {"beta_slow", 1},
            {"mscale", 1.0},
            {"mscale_all_dim", 1.0}}}};
}

TEST(Architecture, UnknownTypeIsRefusedWithTheKnownOnes) {
  const std::string message = refusal({{"model_type", "mamba"}});
  EXPECT_THAT(message, HasSubstr("config.json: model_type \"mamba\" is not supported"));
  for (const std::string& known : known_model_types()) EXPECT_THAT(message, HasSubstr(known));
  const std::string hostile = refusal({{"model_type", "a\r\n" + std::string(5000, 'b')}});
  EXPECT_THAT(hostile, HasSubstr("config.json: model_type \"a\\r\\nbbb"));
  EXPECT_LT(hostile.size(), 600U);
  EXPECT_EQ(known_model_types().size(), 32U);
}

TEST(Architecture, Llama32OneBillion) {
  const Architecture model = must(llama());
  EXPECT_EQ(model.layer_count, 16);
  EXPECT_EQ(model.context_max, 131072);
  EXPECT_EQ(model.tied, true);
  const auto& attention = std::get<GroupedAttention>(model.attention);
  EXPECT_EQ(attention.kv_heads, 8);
  EXPECT_FLOAT_EQ(attention.scale, 0.125F);
  ASSERT_EQ(model.ropes.size(), 1U);
  ASSERT_EQ(model.ropes[0].inverse_frequency.size(), 32U);
  EXPECT_FLOAT_EQ(model.ropes[0].inverse_frequency[0], 1);
  // The slowest pair turns less than once in the old context, so it is slowed by the full factor.
  EXPECT_FLOAT_EQ(model.ropes[0].inverse_frequency[31],
                  static_cast<float>(std::pow(500000.0, -62.0 / 64) / 32));
}

TEST(Architecture, WindowsFollowEachFamilysRule) {
  json fields = llama();
  fields["model_type"] = "mistral";
  EXPECT_EQ(must(fields).layers[7].window, 4096) << "absent: Mistral 7B v0.1's own";
  fields["sliding_window"] = nullptr;
  EXPECT_EQ(must(fields).layers[7].window, 0);
  fields["model_type"] = "qwen2";
  fields["sliding_window"] = 100;
  EXPECT_EQ(must(fields).layers[15].window, 0) << "only with use_sliding_window";
  fields["use_sliding_window"] = true;
  fields["max_window_layers"] = 10;
  EXPECT_EQ(must(fields).layers[9].window, 0);
  EXPECT_EQ(must(fields).layers[10].window, 100);
  fields["layer_types"] = {"sliding_attention"};
  EXPECT_THAT(refusal(fields), HasSubstr("layer_types must name 16 layers, not 1"));
}

TEST(Architecture, Gemma3FourBillionTakesItsDefaults) {
  const Architecture model = must({{"model_type", "gemma3"},
                                   {"text_config",
                                    {{"hidden_size", 2560},
                                     {"intermediate_size", 10240},
                                     {"model_type", "gemma3_text"},
                                     {"num_hidden_layers", 34},
                                     {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                                     {"sliding_window", 1024}}}});
  const auto& attention = std::get<GroupedAttention>(model.attention);
  EXPECT_EQ(attention.heads, 8);
  EXPECT_EQ(attention.kv_heads, 4);
  EXPECT_EQ(attention.head_dim, 256);
  EXPECT_EQ(model.vocabulary, 262208);
  EXPECT_EQ(model.layers[4].window, 1024);
  EXPECT_EQ(model.layers[5].window, 0);
  EXPECT_FLOAT_EQ(model.ropes[0].inverse_frequency[0], 0.125F) << "global: linear by 8";
  EXPECT_FLOAT_EQ(model.ropes[1].inverse_frequency[0], 1) << "local: as it is";
  EXPECT_EQ(model.layers[4].rope, 1);
  EXPECT_EQ(model.layers[5].rope, 0);
  EXPECT_FLOAT_EQ(model.embedding_scale, 50.5F) << "sqrt(2560) as a bfloat16";
  EXPECT_EQ(model.context_max, 131072) << "stretched already";
}

TEST(Architecture, Gemma3ParametersWithoutKindsAreThoseOfFullAttention) {
  json fields = {{"model_type", "gemma3_text"},
                 {"hidden_size", 640},
                 {"intermediate_size", 2048},
                 {"num_hidden_layers", 12},
                 {"rope_parameters", {{"rope_type", "linear"}, {"factor", 8.0}}}};
  EXPECT_FLOAT_EQ(must(fields).ropes[0].inverse_frequency[0], 0.125F);
  EXPECT_FLOAT_EQ(must(fields).ropes[1].inverse_frequency[0], 1);
  fields["rope_parameters"] = {{"sliding_attention", {{"rope_type", "default"}}},
                               {"full_attention", {{"rope_type", "linear"}, {"factor", 4.0}}}};
  EXPECT_FLOAT_EQ(must(fields).ropes[0].inverse_frequency[0], 0.25F);
  EXPECT_FLOAT_EQ(must(fields).ropes[1].inverse_frequency[0], 1);
}

TEST(Architecture, YarnWithoutAFactorStretchesTableAndScaleAlike) {
  json fields = deepseek_v3();  // 163840 of 4096 tokens: 40 times
  const Architecture written = must(fields);
  fields["rope_scaling"].erase("factor");
  const Architecture derived = must(fields);
  EXPECT_EQ(derived.ropes[0].inverse_frequency, written.ropes[0].inverse_frequency);
  EXPECT_EQ(std::get<LatentAttention>(derived.attention).scale,
            std::get<LatentAttention>(written.attention).scale);
}

TEST(Architecture, ScaledRopesStretchTheContext) {
  const auto context = [](const json& scaling, int stated) {
    json fields = llama();
    fields["model_type"] = "qwen2";
    fields["max_position_embeddings"] = stated;
    fields["rope_scaling"] = scaling;
    return must(fields).context_max;
  };
  json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
  EXPECT_EQ(context(yarn, 32768), 131072) << "as Qwen's cards say to write it";
  EXPECT_EQ(context(yarn, 40960), 131072);
  EXPECT_EQ(context(yarn, 131072), 131072) << "stated already";
  yarn.erase("original_max_position_embeddings");
  EXPECT_EQ(context(yarn, 32768), 131072);
  EXPECT_EQ(context({{"type", "linear"}, {"factor", 2.5}}, 4096), 10240);
  EXPECT_EQ(context({{"type", "linear"}, {"factor", 1e6}}, 1 << 29), 1 << 30);
  EXPECT_EQ(context({{"type", "dynamic"}, {"factor", 4.0}}, 4096), 4096);
  EXPECT_EQ(must(deepseek_v3()).context_max, 163840);
}

TEST(Architecture, ATextConfigLeavesOutWhatTransformersAssumes) {
  // llava-hf/llava-1.5-7b-hf and mistral-community/pixtral-12b say no more.
  const Architecture llava = must({{"model_type", "llava"},
                                   {"text_config",
                                    {{"model_type", "llama"},
                                     {"max_position_embeddings", 4096},
                                     {"rms_norm_eps", 1e-5},
                                     {"vocab_size", 32064}}}});
  EXPECT_EQ(llava.hidden, 4096);
  EXPECT_EQ(llava.mlp.width, 11008);
  EXPECT_EQ(llava.layer_count, 32);
  EXPECT_EQ(std::get<GroupedAttention>(llava.attention).kv_heads, 32);
  const Architecture pixtral = must({{"model_type", "llava"},
                                     {"text_config",
                                      {{"model_type", "mistral"},
                                       {"hidden_size", 5120},
                                       {"head_dim", 128},
                                       {"num_hidden_layers", 40},
                                       {"sliding_window", nullptr},
                                       {"vocab_size", 131072}}}});
  EXPECT_EQ(pixtral.mlp.width, 14336);
  EXPECT_EQ(std::get<GroupedAttention>(pixtral.attention).heads, 32);
  EXPECT_EQ(std::get<GroupedAttention>(pixtral.attention).kv_heads, 8);
}

TEST(Architecture, DeepSeekV3) {
  const Architecture model = must(deepseek_v3());
  const auto& attention = std::get<LatentAttention>(model.attention);
  const double mscale = 0.1 * std::log(40.0) + 1;
  EXPECT_NEAR(attention.scale, mscale * mscale / std::sqrt(192.0), 1e-7);
  EXPECT_FLOAT_EQ(model.ropes[0].magnitude, 1);
  EXPECT_TRUE(model.ropes[0].interleaved);
  EXPECT_FALSE(model.layers[2].moe);
  EXPECT_TRUE(model.layers[3].moe);
  ASSERT_TRUE(model.moe.has_value());
  EXPECT_EQ(model.moe->shared_width, 2048);
  EXPECT_EQ(model.moe->router.top_groups, 4);
  EXPECT_EQ(model.moe->router.score, kernels::RouterSpec::Score::kSigmoid);
}

TEST(Architecture, FieldsOutOfRangeAreNamed) {
  const auto with = [](json fields, const char* name, json value) {
    fields[name] = std::move(value);
    return refusal(fields);
  };
  EXPECT_THAT(with(llama(), "num_attention_heads", 0), HasSubstr("num_attention_heads"));
  EXPECT_THAT(with(llama(), "num_key_value_heads", 5),
              HasSubstr("num_key_value_heads must divide num_attention_heads 32, not 5"));
  EXPECT_THAT(with(llama(), "hidden_act", "relu"), HasSubstr("hidden_act \"relu\""));
  EXPECT_THAT(with(llama(), "rope_scaling", {{"rope_type", "magic"}}),
              HasSubstr("rope_scaling.rope_type \"magic\" is not supported; known:"));
  EXPECT_THAT(with(llama(), "head_dim", 7), HasSubstr("even number"));
  EXPECT_THAT(with(deepseek_v3(), "n_group", 7), HasSubstr("n_group must divide"));
  EXPECT_THAT(with(deepseek_v3(), "num_experts_per_tok", 200),
              HasSubstr("num_experts_per_tok must be at most the 128 experts"));
  EXPECT_THAT(with(deepseek_v3(), "topk_method", "random"),
              HasSubstr("topk_method must be \"noaux_tc\""));
  json missing = llama();
  missing.erase("vocab_size");
  EXPECT_THAT(refusal(missing), HasSubstr("vocab_size is missing"));
  json short_factors = llama();
  short_factors["rope_scaling"] = {{"rope_type", "longrope"},
                                   {"long_factor", {1.0, 2.0}},
                                   {"original_max_position_embeddings", 4096}};
  EXPECT_THAT(refusal(short_factors), HasSubstr("long_factor must have 32 numbers"));
}

TEST(Architecture, LongropeFollowsTheContextLength) {
  json fields = llama();
  fields["model_type"] = "phi3";
  fields["rope_scaling"] = {{"type", "longrope"},
                            {"short_factor", std::vector<double>(32, 2.0)},
                            {"long_factor", std::vector<double>(32, 4.0)}};
  fields["original_max_position_embeddings"] = 4096;
  EXPECT_FLOAT_EQ(must(fields).ropes[0].inverse_frequency[0], 0.25F);
  EXPECT_NEAR(must(fields).ropes[0].magnitude, std::sqrt(1 + std::log(32.0) / std::log(4096.0)),
              1e-6);
  fields["max_position_embeddings"] = 4096;
  EXPECT_FLOAT_EQ(must(fields).ropes[0].inverse_frequency[0], 0.5F);
  EXPECT_FLOAT_EQ(must(fields).ropes[0].magnitude, 1);
}

}  // namespace
}  // namespace tandem::models
