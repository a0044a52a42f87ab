#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "config/message.h"
#include "models/architecture.h"
#include "models/families/families.h"

namespace tandem::models {
namespace {

using Family = Architecture (*)(const config::ModelConfig&, config::FieldReader&);

struct Row {
  const char* model_type;
  Family family;
};

/// Every model_type that runs.
constexpr Row kFamilies[] = {
    {"deepseek_v2", families::deepseek_v2},
    {"deepseek_v3", families::deepseek_v3},
    {"dots1", families::dots1},
    {"ernie4_5", families::ernie4_5},
    {"ernie4_5_moe", families::ernie4_5_moe},
    {"gemma2", families::gemma2},
    {"gemma3_text", families::gemma3},
    {"glm4_moe", families::glm4_moe},
    {"glm4_moe_lite", families::glm4_moe_lite},
    {"iquestcoder", families::iquestcoder},
    {"kimi_k2", families::deepseek_v3},
    {"llama", families::llama},
    {"mimo", families::mimo},
    {"mistral", families::mistral},
    {"mixtral", families::mixtral},
    {"phi3", families::phi3},
    {"qwen2", families::qwen2},
    {"qwen2_5_vl", families::qwen2_vl},
    {"qwen2_5_vl_text", families::qwen2_vl},
    {"qwen2_vl", families::qwen2_vl},
    {"qwen2_vl_text", families::qwen2_vl},
    {"qwen3", families::qwen3},
    {"qwen3_5", families::qwen3_5},
    {"qwen3_5_moe", families::qwen3_5_moe},
    {"qwen3_5_moe_text", families::qwen3_5_moe},
    {"qwen3_5_text", families::qwen3_5},
    {"qwen3_moe", families::qwen3_moe},
    {"qwen3_next", families::qwen3_next},
    {"qwen3_vl_moe_text", families::qwen3_vl_moe},
    {"qwen3_vl_text", families::qwen3_vl},
    {"seed_oss", families::seed_oss},
    {"solar_open", families::solar_open},
};

}  // namespace

std::vector<std::string> known_model_types() {
  std::vector<std::string> names;
  for (const Row& row : kFamilies) names.emplace_back(row.model_type);
  std::sort(names.begin(), names.end());
  return names;
}

Result<Architecture> architecture_of(const config::ModelConfig& config) {
  const Row* row = std::find_if(std::begin(kFamilies), std::end(kFamilies), [&](const Row& each) {
    return config.model_type == each.model_type;
  });
  if (row == std::end(kFamilies)) {
    return invalid(fmt::format("{}: model_type {} is not supported; known: {}", config.file,
                               config::shown(config.model_type),
                               fmt::join(known_model_types(), ", ")));
  }
  config::FieldReader fields = config.reader();
  Architecture architecture = row->family(config, fields);
  if (Status status = fields.status(); !status.ok()) return status.error();
  return architecture;
}

}  // namespace tandem::models
