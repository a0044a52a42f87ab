#include "models/loading/model_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace tandem::models {
namespace {

/// Where a folder keeps the text model: alone, or as a part of a model that sees (mlx-lm and older
/// transformers, transformers 5).
struct Root {
  const char* body;
  const char* head;
};
constexpr Root kRoots[] = {{"model.", "lm_head"},
                           {"language_model.model.", "language_model.lm_head"},
                           {"model.language_model.", "lm_head"}};

const Root& root_of(const WeightPlanner& planner) {
  for (const Root& root : kRoots) {
    if (planner.has(std::string(root.body) + "embed_tokens.weight")) return root;
  }
  return kRoots[0];
}

/// Whether a tensor is of one of the family's extra layers. Any other layer beyond the last means
/// that config.json is not this folder's.
bool of_extra_layer(std::string_view name, std::string_view layers, const Architecture& model) {
  if (!name.starts_with(layers)) return false;
  int index = 0;
  const char* begin = name.data() + layers.size();
  const auto parsed = std::from_chars(begin, name.data() + name.size(), index);
  return parsed.ec == std::errc() && parsed.ptr != name.data() + name.size() &&
         *parsed.ptr == '.' && index >= model.layer_count &&
         index < model.layer_count + model.extra_layers;
}

/// Tensors that folders carry and that no layer needs.
bool known_leftover(std::string_view name, const Architecture& model, const Root& root, bool tied) {
  if (name.find(".rotary_emb.") != std::string_view::npos) return true;  // tables, recomputed
  if (tied && name.starts_with(std::string(root.head) + ".")) return true;
  for (const std::string& prefix : model.names.foreign) {
    if (name.starts_with(prefix)) return true;
  }
  return of_extra_layer(name, std::string(root.body) + "layers.", model);
}

Status check_leftovers(const config::ModelConfig& config, weights::WeightFolder& folder,
                       const Architecture& model, const Root& root, bool tied) {
  for (const std::string& name : folder.unused()) {
    if (!known_leftover(name, model, root, tied)) {
      return invalid(fmt::format("{}: tensor {} does not belong to a {} model of {} layers",
                                 std::filesystem::path(config.file).parent_path().string(), name,
                                 config.model_type, model.layer_count));
    }
    folder.skip(name);
  }
  return {};
}

}  // namespace

Result<ModelPlan> plan_model(const config::ModelConfig& config, weights::WeightFolder& folder,
                             const Architecture& model) {
  WeightPlanner planner(config, folder);
  const Root& root = root_of(planner);
  const std::string body = root.body;
  const bool tied = model.tied.value_or(!planner.has(std::string(root.head) + ".weight"));
  ModelPlan plan;
  plan.embedding =
      planner.linear(body + "embed_tokens", model.vocabulary, model.hidden, false).matrix;
  for (int i = 0; i < model.layer_count && planner.status().ok(); ++i) {
    plan.layers.push_back(plan_layer(planner, model, i, fmt::format("{}layers.{}.", body, i)));
  }
  plan.final_norm = planner.vector(body + "norm.weight", model.hidden, model.norm_offset);
  if (!tied) plan.head = planner.linear(root.head, model.vocabulary, model.hidden, false);
  if (!planner.status().ok()) return planner.status().error();
  if (Status status = check_leftovers(config, folder, model, root, tied); !status.ok()) {
    return status.error();
  }
  return plan;
}

}  // namespace tandem::models
