#pragma once
// Where every tensor of a folder belongs.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
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
  bool head_unasked = false;       // config.json ties the head, and the folder has one all the same

  /// The type that keys and values come in: of layer 0's projections (of their scales where they
  /// are quantized; bfloat16 for fp8).
  DType attention_type() const;
};

/// Plans the whole model and checks it against the folder: every tensor that the architecture needs
/// is there with its shape and type, and every tensor of the folder is needed or known to be left
/// over. Maps nothing.
Result<ModelPlan> plan_model(const config::ModelConfig& config, weights::WeightFolder& folder,
                             const Architecture& model);
/// The same by config.json alone: sizes of a model that is not here. Nothing of it can be loaded.
Result<ModelPlan> plan_model(const config::ModelConfig& config, const Architecture& model);

/// For a head_unasked: drops it when it holds the embedding's bytes. Reads both until they differ.
/// What stays is the head of a model that was tuned or merged after its ties were cut, which
/// transformers 5 and, for Gemma 3, mlx-lm use too.
Status drop_equal_head(ModelPlan& plan, weights::WeightFolder& folder);

/// One line on a head that is used although config.json ties it; "": there is none, or the folder
/// cannot be planned, which loading says.
std::string head_note(const std::filesystem::path& folder);

}  // namespace tandem::models
