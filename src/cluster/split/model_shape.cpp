#include "cluster/split/model_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include "config/model_config.h"
#include "models/architecture.h"
#include "models/model_bytes.h"
#include "stage/budget.h"
#include "stage/memory_fit.h"
#include "weights/weight_folder.h"

namespace tandem::cluster {
namespace {

planner::Weights weights_of(const models::PartBytes& part) {
  return {.bytes = part.held, .loading = part.loading, .read = part.held, .flops = 0};
}

planner::LayerShape layer_of(const models::ModelBytes& model, std::size_t index) {
  const models::LayerWork& work = model.work[index];
  planner::LayerShape layer;
  layer.weights = weights_of(model.layers[index]);
  layer.weights.read = work.read;
  layer.weights.flops = work.flops;
  layer.expert = work.expert;
  layer.experts = work.experts;
  layer.chosen = work.chosen;
  layer.depth_flops = work.depth_flops;
  layer.kv_page = model.kv_page[index];
  layer.kv_page_8bit = work.kv_page_8bit < layer.kv_page ? work.kv_page_8bit : 0;
  layer.window = work.window;
  layer.state = model.state[index];
  return layer;
}

planner::ModelShape planner_shape(const models::ModelBytes& model) {
  planner::ModelShape shape;
  for (std::size_t i = 0; i < model.layers.size(); ++i) shape.layers.push_back(layer_of(model, i));
  shape.embedding = weights_of(model.embedding);
  shape.embedding.read = 0;  // a row
  shape.head = weights_of(model.head);
  shape.head.flops = model.head_flops;
  shape.tied = model.tied;
  shape.hop_row = model.hidden_row;
  const auto layers = static_cast<int>(model.layers.size());
  for (std::uint32_t rows = stage::kLeastRows; rows <= stage::kStepRows; rows *= 2) {
    // Of all layers alike; the last rank has the head besides.
    const LayerRange inner{0, std::max(1, layers - 1)};
    shape.steps.push_back({rows, models::needs_of(model, inner, rows).step,
                           models::needs_of(model, {layers - 1, layers}, rows).step});
  }
  return shape;
}

Result<bool> weights_in(const std::filesystem::path& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".safetensors") return true;
    if (it->path().filename() == "model.safetensors.index.json") return true;
  }
  if (error) return invalid(fmt::format("{}: {}", folder.string(), error.message()));
  return false;
}

Result<models::ModelBytes> bytes_of(const config::ModelConfig& config,
                                    const std::filesystem::path& folder, bool has_weights,
                                    const models::ComputeKind& kind) {
  if (!has_weights) return models::model_bytes(config, kind);
  auto weights = weights::WeightFolder::open(folder, weights::Alignment::kAny);
  if (!weights) return weights.error();
  return models::model_bytes(config, *weights, kind);
}

}  // namespace

Result<planner::Model> model_for(const stage::StageOptions& options, bool cpu, bool gpu) {
  planner::Model model;
  for (const bool on_gpu : {false, true}) {
    if (on_gpu ? !gpu : !cpu) continue;
    stage::StageOptions own = options;
    own.gpu = on_gpu;
    const auto bytes = stage::model_bytes_of(own);
    if (!bytes) return bytes.error();
    (on_gpu ? model.gpu : model.cpu) = planner_shape(*bytes);
  }
  if (!cpu) model.cpu = model.gpu;
  if (!gpu) model.gpu = model.cpu;
  return model;
}

Result<FolderShape> shape_of(const std::filesystem::path& folder, const ShapeOptions& options) {
  const auto config = config::ModelConfig::load(folder);
  if (!config) return config.error();
  const auto architecture = models::architecture_of(*config);
  if (!architecture) return architecture.error();
  if (static_cast<std::size_t>(architecture->layer_count) > planner::kLayersMax) {
    return invalid(fmt::format("{}: num_hidden_layers: at most {} layers can be planned, not {}",
                               config->file, planner::kLayersMax, architecture->layer_count));
  }
  const auto has_weights = weights_in(folder);
  if (!has_weights) return has_weights.error();
  FolderShape out;
  out.context_max = architecture->context_max;
  out.has_weights = *has_weights;
  models::ComputeKind cpu;
  if (options.with_gpu) cpu.activations = kernels::Activations::kBF16;
  if (options.kv_bits == 8) cpu.kv_type = DType::kI8;
  const models::ComputeKind gpu{false, kernels::Activations::kBF16};
  for (const auto& [kind, shape] :
       {std::pair{cpu, &out.model.cpu}, std::pair{gpu, &out.model.gpu}}) {
    const auto bytes = bytes_of(*config, folder, out.has_weights, kind);
    if (!bytes) return bytes.error();
    *shape = planner_shape(*bytes);
  }
  return out;
}

}  // namespace tandem::cluster
