#include "models/blocks/moe.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace tandem::models {
namespace {

MlpSpec shared_spec(const MoeSpec& spec) { return {spec.act, spec.shared_width, false, false}; }

/// One stack out of `count` modules PREFIX.i.NAME.
MatrixPlan one_by_one(WeightPlanner& planner, const std::string& prefix, const std::string& name,
                      int count, int rows, int cols) {
  std::vector<Source> sources;
  std::vector<Piece> pieces;
  for (int expert = 0; expert < count && planner.status().ok(); ++expert) {
    sources.push_back(planner.source(fmt::format("{}.{}.{}", prefix, expert, name), 0, rows, cols));
    pieces.push_back({expert, 0, 0, rows});
  }
  if (sources.empty()) return {};
  return planner.stack(std::move(sources), std::move(pieces), count, rows, cols);
}

/// Rows [first, first + rows) of each of the stacked matrices of one tensor.
MatrixPlan rows_of_each(WeightPlanner& planner, const Source& source, int first, int rows) {
  std::vector<Piece> pieces;
  pieces.reserve(static_cast<std::size_t>(source.count));
  for (int expert = 0; expert < source.count; ++expert) {
    pieces.push_back({0, expert, first, rows});
  }
  return planner.stack({source}, std::move(pieces), source.count, rows, source.cols);
}

/// A stacked tensor as it is.
MatrixPlan stacked(WeightPlanner& planner, const Source& source) {
  return planner.stack({source}, {{0, 0, 0, source.count * source.rows}}, source.count, source.rows,
                       source.cols);
}

void plan_experts(WeightPlanner& planner, const Architecture& model, const MoeSpec& spec,
                  const std::string& prefix, MoeBlock::Plan& plan) {
  const int count = spec.router.experts;
  const int hidden = model.hidden;
  const std::string experts = prefix + "experts";
  if (planner.has(experts + ".gate_up_proj")) {
    const Source both =
        planner.bare_source(experts + ".gate_up_proj", count, 2 * spec.width, hidden);
    plan.gate = rows_of_each(planner, both, 0, spec.width);
    plan.up = rows_of_each(planner, both, spec.width, spec.width);
    plan.down =
        stacked(planner, planner.bare_source(experts + ".down_proj", count, hidden, spec.width));
    return;
  }
  // A folder may have one module for each expert under either set of names.
  auto names = model.names.expert;
  if (!planner.has(fmt::format("{}.0.{}.weight", experts, names[0]))) {
    names = {"gate_proj", "up_proj", "down_proj"};
  }
  if (planner.has(fmt::format("{}.0.{}.weight", experts, names[0]))) {
    plan.gate = one_by_one(planner, experts, names[0], count, spec.width, hidden);
    plan.up = one_by_one(planner, experts, names[1], count, spec.width, hidden);
    plan.down = one_by_one(planner, experts, names[2], count, hidden, spec.width);
    return;
  }
  // mlx-lm's stacks, under the name that most of its models give them or (dots1) its own.
  const bool own = planner.has(experts + ".gate_proj.weight");
  const std::string switched = own ? experts + "." : prefix + "switch_mlp.";
  plan.gate = stacked(planner, planner.source(switched + "gate_proj", count, spec.width, hidden));
  plan.up = stacked(planner, planner.source(switched + "up_proj", count, spec.width, hidden));
  plan.down = stacked(planner, planner.source(switched + "down_proj", count, hidden, spec.width));
}

std::optional<VectorPlan> plan_correction(WeightPlanner& planner, const WeightNames& names,
                                          const MoeSpec& spec, const std::string& prefix) {
  for (const std::string& name : names.corrections) {
    if (planner.has(prefix + name)) return planner.vector(prefix + name, spec.router.experts);
  }
  if (names.correction_optional) return std::nullopt;
  return planner.vector(prefix + names.corrections.front(), spec.router.experts);
}

}  // namespace

MoeBlock::Plan MoeBlock::plan(WeightPlanner& planner, const Architecture& model,
                              const MoeSpec& spec, const std::string& layer) {
  std::string prefix = layer + model.names.moe.front() + ".";
  for (const std::string& module : model.names.moe) {
    if (!planner.has(layer + module + ".gate.weight")) continue;
    prefix = layer + module + ".";
    break;
  }
  Plan plan;
  plan.router = planner.linear(prefix + "gate", spec.router.experts, model.hidden, false);
  if (spec.correction) plan.correction = plan_correction(planner, model.names, spec, prefix);
  plan_experts(planner, model, spec, prefix, plan);
  if (spec.shared_width > 0) {
    const std::string shared = prefix + model.names.shared;
    plan.shared = MlpBlock::plan(planner, shared_spec(spec), model.hidden, shared + ".");
    if (spec.shared_gate)
      plan.shared_gate = planner.linear(shared + "_gate", 1, model.hidden, false);
  }
  return plan;
}

MoeBlock::MoeBlock(WeightReader& reader, const Plan& plan, const MoeSpec& spec)
    : router_spec_(spec.router), act_(spec.act) {
  router_ = reader.linear(plan.router);
  if (plan.correction) correction_ = reader.vector(*plan.correction);
  gate_ = reader.experts(plan.gate, spec.router.top_k);
  up_ = reader.experts(plan.up, spec.router.top_k);
  down_ = reader.experts(plan.down, spec.router.top_k);
  if (plan.shared) shared_.emplace(reader, *plan.shared, shared_spec(spec));
  if (plan.shared_gate) shared_gate_ = reader.linear(*plan.shared_gate);
}

mx::array MoeBlock::operator()(const kernels::Ops& ops, const mx::array& x) const {
  const kernels::Routing routing = ops.route(router_(ops, x), router_spec_, correction_);
  const mx::array routed =
      ops.moe_mlp(x, routing, {gate_.matrix(), up_.matrix(), down_.matrix(), act_});
  if (!shared_) return routed;
  const mx::array shared = (*shared_)(ops, x);
  return ops.add(routed, shared_gate_ ? ops.gate(shared, (*shared_gate_)(ops, x)) : shared);
}

}  // namespace tandem::models
