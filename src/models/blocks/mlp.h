#pragma once
// The gated MLP.

#include <optional>
#include <string>

#include "models/architecture.h"
#include "models/loading/linear.h"
#include "models/loading/weight_plan.h"
#include "models/loading/weight_reader.h"

namespace tandem::models {

class MlpBlock {
 public:
  struct Plan {
    std::optional<LinearPlan> gate_up;  // stored as one, or
    std::optional<LinearPlan> gate, up;
    LinearPlan down;
  };

  /// `prefix`: "model.layers.0.mlp.".
  static Plan plan(WeightPlanner& planner, const MlpSpec& spec, int hidden,
                   const std::string& prefix);
  MlpBlock(WeightReader& reader, const Plan& plan, const MlpSpec& spec);

  /// x [T, hidden], already normed -> [T, hidden].
  mx::array operator()(const kernels::Ops& ops, const mx::array& x) const;

 private:
  kernels::GatedActivation act_;
  bool bias_;
  std::optional<Projection> gate_up_;
  Linear gate_, up_, down_;
};

}  // namespace tandem::models
