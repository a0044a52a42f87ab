#pragma once
// Routed experts, with or without one that every token goes through.

#include <optional>
#include <string>

#include "kernels/moe.h"
#include "models/architecture.h"
#include "models/blocks/mlp.h"
#include "models/loading/linear.h"
#include "models/loading/weight_plan.h"
#include "models/loading/weight_reader.h"

namespace tandem::models {

class MoeBlock {
 public:
  struct Plan {
    LinearPlan router;
    std::optional<VectorPlan> correction;
    MatrixPlan gate;
    MatrixPlan up;
    MatrixPlan down;
    std::optional<MlpBlock::Plan> shared;
    std::optional<LinearPlan> shared_gate;
  };

  /// `layer`: "model.layers.0.". Experts are stacked under switch_mlp (mlx-lm), stacked as
  /// experts.gate_up_proj and experts.down_proj (transformers 5), or one module each (Hugging
  /// Face).
  static Plan plan(WeightPlanner& planner, const Architecture& model, const MoeSpec& spec,
                   const std::string& layer);
  MoeBlock(WeightReader& reader, const Plan& plan, const MoeSpec& spec);

  /// x [T, hidden], already normed -> [T, hidden].
  mx::array operator()(const kernels::Ops& ops, const mx::array& x) const;

 private:
  kernels::RouterSpec router_spec_;
  kernels::GatedActivation act_;
  Linear router_;
  std::optional<mx::array> correction_;
  Linear gate_;
  Linear up_;
  Linear down_;
  std::optional<MlpBlock> shared_;
  std::optional<Linear> shared_gate_;
};

}  // namespace tandem::models
