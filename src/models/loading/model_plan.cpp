#include "models/loading/model_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

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
                           {"model.language_model.", "lm_head"},
                           {"model.text_model.", "lm_head"}};
/// Where a head may stand, whatever the root.
constexpr std::string_view kHeads[] = {"lm_head", "language_model.lm_head", "model.lm_head",
                                       "model.language_model.lm_head"};
/// Parts of a folder that belong to the model's eyes and ears, with or without "model." before
/// them.
constexpr std::string_view kForeign[] = {
    "vision_tower.", "vision_model.",          "vision_encoder.",
    "visual.",       "audio_tower.",           "audio_encoder.",
    "embed_vision.", "embed_audio.",           "multi_modal_projector.",
    "mm_projector.", "audio_projector.",       "connector.",
    "patch_merger.", "pre_mm_projector_norm.", "vision_language_adapter.",
    "image_newline"};

const Root& root_of(const WeightPlanner& planner) {
  for (const Root& root : kRoots) {
    if (planner.has(std::string(root.body) + "embed_tokens.weight")) return root;
  }
  return kRoots[0];
}

std::string head_of(const WeightPlanner& planner, const Root& root) {
  for (const std::string_view head : kHeads) {
    if (planner.has(fmt::format("{}.weight", head))) return std::string(head);
  }
  return root.head;
}

bool foreign(std::string_view name) {
  constexpr std::string_view kModel = "model.";
  if (name.starts_with(kModel)) name.remove_prefix(kModel.size());
  return std::ranges::any_of(kForeign,
                             [&](std::string_view part) { return name.starts_with(part); });
}

DType value_type(const MatrixPlan& plan) {
  const Format& format = plan.sources.front().format;
  return format.kind == Format::Kind::kFp8 ? DType::kBF16 : format.dtype;
}

/// Whether a head is stored as the embedding is, byte for byte.
Result<bool> same_bytes(weights::WeightFolder& folder, const Source& head, const Source& table) {
  if (!(head.format == table.format)) return false;
  for (const auto& [one, other] :
       {std::pair{&head.weight, &table.weight}, std::pair{&head.scales, &table.scales},
        std::pair{&head.biases, &table.biases},
        std::pair{&head.scale_inverse, &table.scale_inverse}}) {
    if (one->empty()) continue;
    const auto left = folder.take(*one);
    if (!left.ok()) return left.error();
    const auto right = folder.take(*other);
    if (!right.ok()) return right.error();
    if (!std::ranges::equal(left->bytes, right->bytes)) return false;
  }
  return true;
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
bool known_leftover(std::string_view name, const Architecture& model, const Root& root,
                    const std::string& tied_head) {
  if (name.find(".rotary_emb.") != std::string_view::npos) return true;  // tables, recomputed
  if (!tied_head.empty() && name.starts_with(tied_head + ".")) return true;
  if (foreign(name)) return true;
  for (const std::string& prefix : model.names.foreign) {
    if (name.starts_with(prefix)) return true;
  }
  return of_extra_layer(name, std::string(root.body) + "layers.", model);
}

Status check_leftovers(const config::ModelConfig& config, weights::WeightFolder& folder,
                       const Architecture& model, const Root& root, const std::string& tied_head) {
  for (const std::string& name : folder.unused()) {
    if (!known_leftover(name, model, root, tied_head)) {
      return invalid(fmt::format("{}: tensor {} does not belong to a {} model of {} layers",
                                 std::filesystem::path(config.file).parent_path().string(), name,
                                 config.model_type, model.layer_count));
    }
    folder.skip(name);
  }
  return {};
}

/// Whether norms have Architecture::norm_offset added already: mlx-lm moves a convolution's taps
/// and adds it in one go, so the shape of the one tells of the other.
bool offset_added(const WeightPlanner& planner, const Architecture& model,
                  const std::string& body) {
  if (!model.offset_by_layout) return false;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    if (!model.layers[i].recurrent) continue;
    const auto* taps =
        planner.stored(fmt::format("{}layers.{}.linear_attn.conv1d.weight", body, i));
    return taps != nullptr && taps->shape.size() == 3 && taps->shape[2] == 1;
  }
  return false;
}

/// `folder` may be null: see WeightPlanner.
Result<ModelPlan> planned(const config::ModelConfig& config, weights::WeightFolder* folder,
                          Architecture model) {
  WeightPlanner planner(config, folder);
  const Root& root = root_of(planner);
  const std::string body = root.body;
  if (offset_added(planner, model, body)) model.norm_offset = 0;
  const std::string head = head_of(planner, root);
  const bool stored = planner.has(head + ".weight");
  // Without a folder a config that does not say counts as untied, which takes more.
  const bool untied = stored || !model.tied.value_or(folder != nullptr);
  ModelPlan plan;
  plan.head_unasked = stored && model.tied.value_or(false);
  plan.embedding =
      planner.linear(body + "embed_tokens", model.vocabulary, model.hidden, false).matrix;
  for (int i = 0; i < model.layer_count && planner.status().ok(); ++i) {
    plan.layers.push_back(plan_layer(planner, model, i, fmt::format("{}layers.{}.", body, i)));
  }
  plan.final_norm = planner.vector(body + "norm.weight", model.hidden, model.norm_offset);
  if (untied) plan.head = planner.linear(head, model.vocabulary, model.hidden, false);
  if (!planner.status().ok()) return planner.status().error();
  if (folder == nullptr) return plan;
  if (Status status = check_leftovers(config, *folder, model, root, untied ? "" : head);
      !status.ok()) {
    return status.error();
  }
  return plan;
}

}  // namespace

DType ModelPlan::attention_type() const {
  const LayerPlan& first = layers.front();
  if (const auto* grouped = std::get_if<GroupedAttentionBlock::Plan>(&first.attention)) {
    return value_type(grouped->qkv.front().matrix);
  }
  if (const auto* delta = std::get_if<GatedDeltaBlock::Plan>(&first.attention)) {
    return value_type(delta->in.front().matrix);
  }
  return value_type(std::get<LatentAttentionBlock::Plan>(first.attention).down.front().matrix);
}

Status drop_equal_head(ModelPlan& plan, weights::WeightFolder& folder) {
  if (!plan.head_unasked) return {};
  auto same = same_bytes(folder, plan.head->matrix.sources.front(), plan.embedding.sources.front());
  if (!same.ok()) return same.error();
  if (*same) {
    plan.head.reset();
    plan.head_unasked = false;
  }
  return {};
}

std::string head_note(const std::filesystem::path& folder) {
  const auto config = config::ModelConfig::load(folder);
  if (!config.ok()) return "";
  const auto model = architecture_of(*config);
  if (!model.ok() || model->tied != true) return "";
  auto weights = weights::WeightFolder::open(folder, weights::Alignment::kAny);
  if (!weights.ok()) return "";
  auto plan = plan_model(*config, *weights, *model);
  if (!plan.ok() || !drop_equal_head(*plan, *weights).ok() || !plan->head) return "";
  return fmt::format(
      "{}: {} differs from the embedding and is used, although config.json says "
      "tie_word_embeddings: true",
      folder.string(), plan->head->matrix.sources.front().weight);
}

Result<ModelPlan> plan_model(const config::ModelConfig& config, weights::WeightFolder& folder,
                             const Architecture& model) {
  return planned(config, &folder, model);
}

Result<ModelPlan> plan_model(const config::ModelConfig& config, const Architecture& model) {
  return planned(config, nullptr, model);
}

}  // namespace tandem::models
