#pragma once
// A planned model as the kernels of src/cuda take it.

#include "cuda/executor/executor.h"
#include "models/architecture.h"
#include "models/decoder.h"
#include "models/loading/model_plan.h"
#include "tandem/error.h"
#include "tandem/stage_info.h"
#include "weights/weight_folder.h"

namespace tandem::stage {

/// kInvalidArgument, with the reason, for a model that those kernels do not compute: they are for
/// decoders of Llama's kind, dense or mixtures of experts as Qwen3's, in 4 bits and groups of 64
/// with bf16 scales.
Result<cuda::ModelShape> cuda_shape(const models::Architecture& model,
                                    const models::ModelPlan& plan, LayerRange range);

/// Reads the range's tensors into an executor of that shape.
Status load_weights(cuda::Executor& executor, weights::WeightFolder& folder,
                    const models::ModelPlan& plan, LayerRange range, const cuda::ModelShape& shape,
                    const models::LoadProgress& progress);

}  // namespace tandem::stage
