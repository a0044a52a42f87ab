#include "models/blocks/gated_delta.h"

#include <utility>

namespace tandem::models {
namespace {

int keys(const GatedDelta& spec) { return spec.key_heads * spec.key_dim; }
int values(const GatedDelta& spec) { return spec.heads * spec.value_dim; }

/// Rows of a module that has, for each key head, `parts` pieces of these rows one after the other:
/// the pieces [first, last) of all heads, piece by piece.
LinearPlan gathered(WeightPlanner& planner, const Source& source, int heads,
                    const std::vector<int>& parts, std::size_t first, std::size_t last) {
  int head_rows = 0;
  for (const int rows : parts) head_rows += rows;
  std::vector<Piece> pieces;
  int begin = 0;
  int total = 0;
  for (std::size_t part = 0; part < last; begin += parts[part++]) {
    for (int head = 0; part >= first && head < heads; ++head) {
      pieces.push_back({0, 0, head * head_rows + begin, parts[part]});
      total += parts[part];
    }
  }
  return {planner.stack({source}, std::move(pieces), 1, total, source.cols), std::nullopt};
}

/// in_proj_qkvz and in_proj_ba have the rows of a key head together: [q | k | v | z], [b | a].
std::vector<LinearPlan> plan_fused(WeightPlanner& planner, const GatedDelta& spec, int hidden,
                                   const std::string& prefix) {
  const int share = spec.heads / spec.key_heads;
  const int value_rows = share * spec.value_dim;
  const std::vector<int> wide = {spec.key_dim, spec.key_dim, value_rows, value_rows};
  const Source qkvz =
      planner.source(prefix + "in_proj_qkvz", 0, 2 * (keys(spec) + values(spec)), hidden);
  const Source ba = planner.source(prefix + "in_proj_ba", 0, 2 * spec.heads, hidden);
  const auto of_ba = [&](std::size_t part) {
    return gathered(planner, ba, spec.key_heads, {share, share}, part, part + 1);
  };
  return {gathered(planner, qkvz, spec.key_heads, wide, 0, 3),
          gathered(planner, qkvz, spec.key_heads, wide, 3, 4), of_ba(0), of_ba(1)};
}

}  // namespace

kernels::StateSpec state_of(const GatedDelta& spec, DType activations) {
  return {.conv_rows = spec.taps - 1,
          .channels = 2 * keys(spec) + values(spec),
          .conv_type = activations,
          .heads = spec.heads,
          .key_dim = spec.key_dim,
          .value_dim = spec.value_dim};
}

GatedDeltaBlock::Plan GatedDeltaBlock::plan(WeightPlanner& planner, const Architecture& model,
                                            const std::string& prefix) {
  const GatedDelta& spec = *model.delta;
  const int channels = 2 * keys(spec) + values(spec);
  Plan plan;
  if (spec.fused) {
    plan.in = plan_fused(planner, spec, model.hidden, prefix);
  } else {
    const RowsOf modules[] = {{prefix + "in_proj_qkv", channels},
                              {prefix + "in_proj_z", values(spec)},
                              {prefix + "in_proj_b", spec.heads},
                              {prefix + "in_proj_a", spec.heads}};
    plan.in = planner.linears(modules, model.hidden, false);
  }
  plan.taps = planner.depthwise(prefix + "conv1d.weight", channels, spec.taps);
  plan.log_decay = planner.vector(prefix + "A_log", spec.heads);
  plan.bias = planner.vector(prefix + "dt_bias", spec.heads);
  plan.norm = planner.vector(prefix + "norm.weight", spec.value_dim);
  plan.out = planner.linear(prefix + "out_proj", model.hidden, values(spec), false);
  return plan;
}

GatedDeltaBlock::GatedDeltaBlock(WeightReader& reader, const Plan& plan, const Architecture& model)
    : spec_{state_of(*model.delta, reader.activation_type()), model.delta->key_heads},
      epsilon_(model.norm_epsilon),
      taps_(reader.taps(plan.taps, spec_.state.channels)),
      weights_{reader.vector(plan.log_decay), reader.vector(plan.bias)},
      norm_(reader.norm(plan.norm)) {
  const int heads = spec_.state.heads;
  const int parts[] = {spec_.state.channels, values(*model.delta), heads, heads};
  in_ = reader.projection(plan.in, parts);
  out_ = reader.linear(plan.out);
}

mx::array GatedDeltaBlock::operator()(const kernels::Ops& ops, const mx::array& x,
                                      const kernels::Batch& batch, std::size_t layer) const {
  const std::vector<mx::array> parts = in_(ops, x);
  const mx::array qkv = ops.causal_conv(spec_.state, parts[0], taps_, batch, layer);
  const mx::array y = ops.gated_delta(spec_, {qkv, parts[3], parts[2]}, weights_, batch, layer);
  const mx::array z = ops.reshape(parts[1], y.shape());
  const mx::array normed = ops.gated_rms_norm(y, z, norm_, epsilon_);
  return out_(ops, ops.reshape(normed, {x.shape(0), parts[1].shape(1)}));
}

}  // namespace tandem::models
