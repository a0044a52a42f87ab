#pragma once
// One function a model_type: config.json -> Architecture. Failures are kept by the reader; what a
// function returns after one is not used.

#include "models/architecture.h"

namespace tandem::models::families {

Architecture llama(const config::ModelConfig& config, config::FieldReader& fields);
Architecture mistral(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen2(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen3(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen3_5(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen3_5_moe(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen3_next(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen3_moe(const config::ModelConfig& config, config::FieldReader& fields);
Architecture mixtral(const config::ModelConfig& config, config::FieldReader& fields);
Architecture gemma2(const config::ModelConfig& config, config::FieldReader& fields);
Architecture gemma3(const config::ModelConfig& config, config::FieldReader& fields);
Architecture phi3(const config::ModelConfig& config, config::FieldReader& fields);
Architecture deepseek_v2(const config::ModelConfig& config, config::FieldReader& fields);
Architecture deepseek_v3(const config::ModelConfig& config, config::FieldReader& fields);
Architecture glm4_moe(const config::ModelConfig& config, config::FieldReader& fields);
Architecture glm4_moe_lite(const config::ModelConfig& config, config::FieldReader& fields);
Architecture solar_open(const config::ModelConfig& config, config::FieldReader& fields);
Architecture dots1(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen2_vl(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen3_vl(const config::ModelConfig& config, config::FieldReader& fields);
Architecture qwen3_vl_moe(const config::ModelConfig& config, config::FieldReader& fields);
Architecture mimo(const config::ModelConfig& config, config::FieldReader& fields);
Architecture seed_oss(const config::ModelConfig& config, config::FieldReader& fields);
Architecture iquestcoder(const config::ModelConfig& config, config::FieldReader& fields);
Architecture ernie4_5(const config::ModelConfig& config, config::FieldReader& fields);
Architecture ernie4_5_moe(const config::ModelConfig& config, config::FieldReader& fields);

}  // namespace tandem::models::families
