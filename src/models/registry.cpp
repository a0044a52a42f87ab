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
    {"gemma2", families::gemma2},
    {"gemma3_text", families::gemma3},
    {"llama", families::llama},
    {"mistral", families::mistral},
    {"mixtral", families::mixtral},
    {"phi3", families::phi3},
    {"qwen2", families::qwen2},
    {"qwen3", families::qwen3},
    {"qwen3_moe", families::qwen3_moe},
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
