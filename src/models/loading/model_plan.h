#pragma once
// Where every tensor of a folder belongs.

#include <cstdint>
#include <optional>
#include <vector>

#include "config/model_config.h"
#include "models/architecture.h"
#include "models/decoder.h"
#include "models/layer.h"
#include "models/loading/weight_plan.h"
#include "weights/weight_folder.h"

namespace tandem::models {

struct ModelPlan {
  MatrixPlan embedding;
  std::vector<LayerPlan> layers;
  VectorPlan final_norm;
  std::optional<LinearPlan> head;  // nullopt: the embedding is the head
};

/// Plans the whole model and checks it against the folder: every tensor that the architecture needs
/// is there with its shape and type, and every tensor of the folder is needed or known to be left
/// over. Maps nothing.
Result<ModelPlan> plan_model(const config::ModelConfig& config, weights::WeightFolder& folder,
                             const Architecture& model);

}  // namespace tandem::models
