#pragma once
// The gated delta net (arXiv 2412.06464): a causal convolution, the delta rule on a state of fixed
// size, a gated norm. Source: transformers' and mlx-lm's qwen3_next, qwen3_5.

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "models/architecture.h"
#include "models/loading/linear.h"
#include "models/loading/weight_plan.h"
#include "models/loading/weight_reader.h"

namespace tandem::models {

class GatedDeltaBlock {
 public:
  struct Plan {
    std::vector<LinearPlan> in;  // queries, keys and values; z; b; a
    VectorPlan taps;             // [channels, taps]
    VectorPlan log_decay;
    VectorPlan bias;  // of steps
    VectorPlan norm;
    LinearPlan out;
  };

  /// `prefix`: "model.layers.0.linear_attn.".
  static Plan plan(WeightPlanner& planner, const Architecture& model, const std::string& prefix);
  GatedDeltaBlock(WeightReader& reader, const Plan& plan, const Architecture& model);

  kernels::LayerKept kept() const { return spec_.state; }
  /// x [T, hidden], already normed -> [T, hidden]. `layer`: of what the batch's sequences keep.
  mx::array operator()(const kernels::Ops& ops, const mx::array& x, const kernels::Batch& batch,
                       std::size_t layer) const;

 private:
  kernels::DeltaSpec spec_;
  float epsilon_;
  Projection in_;
  mx::array taps_;
  kernels::DeltaWeights weights_;
  mx::array norm_;
  Linear out_;
};

/// What such a layer keeps of a sequence where activations are of this type.
kernels::StateSpec state_of(const GatedDelta& spec, DType activations);

}  // namespace tandem::models
