#include "models/blocks/mlp.h"

#include "kernels/activation.h"

namespace tandem::models {

MlpBlock::Plan MlpBlock::plan(WeightPlanner& planner, const MlpSpec& spec, int hidden,
                              const std::string& prefix) {
  Plan plan;
  if (spec.fused) {
    plan.gate_up.push_back(
        planner.linear(prefix + "gate_up_proj", 2 * spec.width, hidden, spec.bias));
  } else {
    const RowsOf modules[] = {{prefix + "gate_proj", spec.width}, {prefix + "up_proj", spec.width}};
    plan.gate_up = planner.fused(modules, hidden, spec.bias);
  }
  plan.down = planner.linear(prefix + "down_proj", hidden, spec.width, spec.bias);
  return plan;
}

MlpBlock::MlpBlock(WeightReader& reader, const Plan& plan, const MlpSpec& spec) : act_(spec.act) {
  const int parts[] = {spec.width, spec.width};
  gate_up_ = reader.projection(plan.gate_up, parts);
  down_ = reader.linear(plan.down);
}

mx::array MlpBlock::operator()(const kernels::Context& context, const mx::array& x) const {
  const std::vector<mx::array> parts = gate_up_(context, x);
  return down_(context, kernels::gated(context, parts[0], parts[1], act_));
}

}  // namespace tandem::models
