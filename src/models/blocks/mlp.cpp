#include "models/blocks/mlp.h"

namespace tandem::models {

MlpBlock::Plan MlpBlock::plan(WeightPlanner& planner, const MlpSpec& spec, int hidden,
                              const std::string& prefix) {
  Plan plan;
  if (spec.fused) {
    plan.gate_up = planner.linear(prefix + "gate_up_proj", 2 * spec.width, hidden, spec.bias);
  } else {
    plan.gate = planner.linear(prefix + "gate_proj", spec.width, hidden, spec.bias);
    plan.up = planner.linear(prefix + "up_proj", spec.width, hidden, spec.bias);
  }
  plan.down = planner.linear(prefix + "down_proj", hidden, spec.width, spec.bias);
  return plan;
}

MlpBlock::MlpBlock(WeightReader& reader, const Plan& plan, const MlpSpec& spec)
    : act_(spec.act), bias_(spec.bias) {
  if (plan.gate_up) {
    const int parts[] = {spec.width, spec.width};
    gate_up_ = reader.projection({*plan.gate_up}, parts);
  } else {
    gate_ = reader.linear(*plan.gate);
    up_ = reader.linear(*plan.up);
  }
  down_ = reader.linear(plan.down);
}

mx::array MlpBlock::operator()(const kernels::Ops& ops, const mx::array& x) const {
  if (gate_up_) {
    const std::vector<mx::array> parts = (*gate_up_)(ops, x);
    return down_(ops, ops.gated(parts[0], parts[1], act_));
  }
  if (bias_) {
    return down_(ops, ops.gated(gate_(ops, x), up_(ops, x), act_));
  }
  return ops.gated_mlp(x, {gate_.matrix(), up_.matrix(), down_.matrix(), act_});
}

}  // namespace tandem::models
