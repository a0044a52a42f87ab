#include "config/model_config.h"

#include <gtest/gtest.h>

#include <string>

namespace tandem::config {
namespace {

ModelConfig good(std::string_view text) {
  auto result = ModelConfig::parse(text, "config.json");
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? *result : ModelConfig{};
}

std::string error_of(std::string_view text) {
  const auto result = ModelConfig::parse(text, "config.json");
  return result.ok() ? "" : result.error().message;
}

TEST(ModelConfig, APlainModelHasATypeAndBfloat16ByDefault) {
  const auto config = good(R"({"model_type":"llama","auto_map":{"AutoModel":"evil.py"}})");
  EXPECT_EQ(config.model_type, "llama");
  EXPECT_EQ(config.dtype, DType::kBF16);
  EXPECT_FALSE(config.quantization.has_value());
  EXPECT_FALSE(config.fp8.has_value());
}

TEST(ModelConfig, TypesAreReadUnderBothNames) {
  EXPECT_EQ(good(R"({"model_type":"a","torch_dtype":"float16"})").dtype, DType::kF16);
  EXPECT_EQ(good(R"({"model_type":"a","dtype":"float32"})").dtype, DType::kF32);
  EXPECT_EQ(good(R"({"model_type":"a","torch_dtype":"torch.bfloat16"})").dtype, DType::kBF16);
  EXPECT_EQ(error_of(R"({"model_type":"a","torch_dtype":"int8"})"),
            "config.json: torch_dtype must be auto, bfloat16, float16 or float32, not \"int8\"");
  EXPECT_EQ(good(R"({"model_type":"a","torch_dtype":"auto"})").dtype, DType::kBF16);
}

TEST(ModelConfig, ATextConfigIsMergedOverTheOuterObject) {
  const auto config = good(R"({"model_type":"gemma3","hidden_size":1,"torch_dtype":"float32",
    "text_config":{"model_type":"gemma3_text","hidden_size":2,"torch_dtype":null}})");
  EXPECT_EQ(config.model_type, "gemma3_text");
  EXPECT_EQ(config.fields["hidden_size"], 2);
  EXPECT_EQ(config.dtype, DType::kF32);
  EXPECT_EQ(good(R"({"model_type":"gemma3","text_config":{}})").model_type, "gemma3_text");
  EXPECT_EQ(good(R"({"model_type":"llava","text_config":{"x":1}})").model_type, "llama");
  EXPECT_EQ(good(R"({"model_type":"gemma3","text_config":{}})").fields["vocab_size"], 262208);
  EXPECT_EQ(good(R"({"model_type":"gemma3_text"})").fields["vocab_size"], 262208);
  EXPECT_EQ(error_of(R"({"model_type":"gemma3","text_config":[1]})"),
            "config.json: text_config must be an object, not [1]");
}

TEST(ModelConfig, QuantizationHasDefaultsAndOverridesPerModule) {
  const auto config = good(R"({"model_type":"a","quantization":{"group_size":64,"bits":4,
    "mode":"affine","model.embed_tokens":{"group_size":32,"bits":8},"lm_head":false,
    "model.norm":true,"model.layers.0.mlp.down_proj":{"bits":6}}})");
  ASSERT_TRUE(config.quantization.has_value());
  EXPECT_EQ(config.quantization->of("anything"), (Quantization{4, 64}));
  EXPECT_EQ(config.quantization->of("model.embed_tokens"), (Quantization{8, 32}));
  EXPECT_EQ(config.quantization->of("model.layers.0.mlp.down_proj"), (Quantization{6, 64}));
  EXPECT_EQ(config.quantization->of("lm_head"), (Quantization{4, 64}));
}

TEST(ModelConfig, MlxsTableIsAlsoReadFromQuantizationConfig) {
  const auto config =
      good(R"({"model_type":"a","quantization_config":{"group_size":128,"bits":3}})");
  ASSERT_TRUE(config.quantization.has_value());
  EXPECT_EQ(config.quantization->defaults, (Quantization{3, 128}));
}

TEST(ModelConfig, MalformedQuantizationIsRefusedByField) {
  EXPECT_EQ(error_of(R"({"model_type":"a","quantization":{"group_size":64,"bits":7}})"),
            "config.json: quantization.bits must be 2, 3, 4, 5, 6 or 8, not 7");
  EXPECT_EQ(error_of(R"({"model_type":"a","quantization":{"group_size":16,"bits":4}})"),
            "config.json: quantization.group_size must be 32, 64 or 128, not 16");
  EXPECT_EQ(error_of(R"({"model_type":"a","quantization":{"bits":4}})"),
            "config.json: quantization.group_size is missing");
  EXPECT_EQ(
      error_of(R"({"model_type":"a","quantization":{"group_size":32,"bits":4,"mode":"mxfp4"}})"),
      "config.json: quantization.mode \"mxfp4\" is not supported, only \"affine\" is");
  EXPECT_EQ(
      error_of(R"({"model_type":"a","quantization":{"group_size":32,"bits":4,"m":{"bits":1}}})"),
      "config.json: quantization.m.bits must be 2, 3, 4, 5, 6 or 8, not 1");
}

TEST(ModelConfig, Fp8BlocksAreReadAndOtherMethodsRefusedByName) {
  const auto config = good(R"({"model_type":"a","quantization_config":{"quant_method":"fp8",
    "fmt":"e4m3","weight_block_size":[128,64],"activation_scheme":"dynamic"}})");
  ASSERT_TRUE(config.fp8.has_value());
  EXPECT_EQ(config.fp8->block_rows, 128);
  EXPECT_EQ(config.fp8->block_cols, 64);
  EXPECT_NE(error_of(R"({"model_type":"a","quantization_config":{"quant_method":"awq"}})")
                .find("quantization_config.quant_method \"awq\" is not supported"),
            std::string::npos);
  EXPECT_NE(error_of(R"({"model_type":"a","quantization_config":{"quant_method":"fp8",
    "weight_block_size":[0,1]}})")
                .find("weight_block_size"),
            std::string::npos);
}

TEST(ModelConfig, WhatPythonWritesForNumbersOnlyMattersWhereANumberIsRead) {
  const auto config = good(R"({"model_type":"a","beta":NaN,"gamma":[Infinity,-Infinity],
    "text":"NaN \"Infinity"})");
  EXPECT_EQ(config.fields["text"], "NaN \"Infinity");
  auto reader = config.reader();
  reader.number("beta", 0, 1);
  EXPECT_EQ(reader.status().error().message,
            "config.json: beta must be a number in [0, 1], not \"NaN\"");
  EXPECT_NE(error_of(R"({"model_type":"a","beta":Nan})"), "");
}

TEST(ModelConfig, MalformedFilesAreRefused) {
  EXPECT_EQ(error_of("{}"), "config.json: model_type is missing");
  EXPECT_EQ(error_of("[]"), "config.json: must be an object, not []");
  EXPECT_EQ(error_of(R"({"model_type":7})"), "config.json: model_type must be a string, not 7");
  EXPECT_NE(error_of("{"), "");
  EXPECT_EQ(ModelConfig::load("/nonexistent").error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace tandem::config
