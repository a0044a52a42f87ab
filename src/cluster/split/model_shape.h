#pragma once
// A model folder as the planner sees it.

#include <filesystem>

#include "planner/model_shape.h"
#include "stage/stage.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// How the model is to be computed, as far as its shape depends on it.
struct ShapeOptions {
  bool with_gpu = true;  // among the machines: then all compute in bfloat16
  int kv_bits = 0;       // 8, or 0: as precise as activations or checkpoint
};

struct FolderShape {
  planner::Model model;
  int context_max = 0;       // tokens that the model was made for
  bool has_weights = false;  // else all figures are config.json's
};

/// Reads headers of the weight files, or config.json alone where there is none. Fails as loading
/// would, and for models of more than planner::kLayersMax layers.
Result<FolderShape> shape_of(const std::filesystem::path& folder, const ShapeOptions& options);

/// The model as it would be computed by `options` on CPUs, GPUs or both; of a kind that is not
/// asked for the other one's figures stand. Reads headers; options.gpu is ignored.
Result<planner::Model> model_for(const stage::StageOptions& options, bool cpu, bool gpu);

}  // namespace tandem::cluster
