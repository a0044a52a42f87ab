#pragma once
// The gated MLP.

#include <string>
#include <vector>

#include "models/architecture.h"
#include "models/loading/linear.h"
#include "models/loading/weight_plan.h"
#include "models/loading/weight_reader.h"

namespace tandem::models {

class MlpBlock {
 public:
  struct Plan {
    std::vector<LinearPlan> gate_up;
    LinearPlan down;
  };

  /// `prefix`: "model.layers.0.mlp.".
  static Plan plan(WeightPlanner& planner, const MlpSpec& spec, int hidden,
                   const std::string& prefix);
  MlpBlock(WeightReader& reader, const Plan& plan, const MlpSpec& spec);

  /// x [T, hidden], already normed -> [T, hidden].
  mx::array operator()(const kernels::Context& context, const mx::array& x) const;

 private:
  kernels::GatedActivation act_;
  Projection gate_up_;
  Linear down_;
};

}  // namespace tandem::models
