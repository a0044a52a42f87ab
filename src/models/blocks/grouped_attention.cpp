#include "models/blocks/grouped_attention.h"

namespace tandem::models {

GroupedAttentionBlock::Plan GroupedAttentionBlock::plan(WeightPlanner& planner,
                                                        const Architecture& model,
                                                        const std::string& prefix) {
  const auto& spec = std::get<GroupedAttention>(model.attention);
  const int out_cols = spec.heads * spec.head_dim;
  const int q_rows = spec.gated ? 2 * out_cols : out_cols;
  const int kv_rows = spec.kv_heads * spec.head_dim;
  Plan plan;
  if (spec.fused) {
    plan.qkv.push_back(
        planner.linear(prefix + "qkv_proj", q_rows + 2 * kv_rows, model.hidden, spec.qkv_bias));
  } else {
    const RowsOf modules[] = {
        {prefix + "q_proj", q_rows}, {prefix + "k_proj", kv_rows}, {prefix + "v_proj", kv_rows}};
    plan.qkv = planner.linears(modules, model.hidden, spec.qkv_bias);
  }
  plan.out = planner.linear(prefix + "o_proj", model.hidden, out_cols, spec.out_bias);
  if (spec.head_norms) {
    plan.q_norm = planner.vector(prefix + "q_norm.weight", spec.head_dim, model.norm_offset);
    plan.k_norm = planner.vector(prefix + "k_norm.weight", spec.head_dim, model.norm_offset);
  }
  return plan;
}

GroupedAttentionBlock::GroupedAttentionBlock(WeightReader& reader, const Plan& plan,
                                             const Architecture& model, const LayerSpec& layer,
                                             DType kv_type)
    : gated_(std::get<GroupedAttention>(model.attention).gated),
      rope_(reader.rope(model.ropes[static_cast<std::size_t>(layer.rope)])),
      epsilon_(model.norm_epsilon) {
  const auto& spec = std::get<GroupedAttention>(model.attention);
  spec_.heads = spec.heads;
  spec_.kv = {spec.kv_heads, spec.head_dim, spec.head_dim, false, kv_type};
  spec_.scale = spec.scale;
  spec_.softcap = spec.softcap;
  spec_.window = layer.window;
  const int kv_rows = spec.kv_heads * spec.head_dim;
  const int q_rows = spec.heads * spec.head_dim * (spec.gated ? 2 : 1);
  const int parts[] = {q_rows, kv_rows, kv_rows};
  qkv_ = reader.projection(plan.qkv, parts);
  out_ = reader.linear(plan.out);
  if (plan.q_norm) q_norm_ = reader.norm(*plan.q_norm);
  if (plan.k_norm) k_norm_ = reader.norm(*plan.k_norm);
}

mx::array GroupedAttentionBlock::normed(const kernels::Ops& ops, const mx::array& x,
                                        const std::optional<mx::array>& norm) const {
  return norm ? ops.rms_norm(x, *norm, epsilon_) : x;
}

mx::array GroupedAttentionBlock::operator()(const kernels::Ops& ops, const mx::array& x,
                                            const kernels::Batch& batch, std::size_t layer) const {
  const std::vector<mx::array> parts = qkv_(ops, x);
  const int dim = spec_.kv.key_dim;
  mx::array query = ops.reshape(parts[0], {x.shape(0), spec_.heads, gated_ ? 2 * dim : dim});
  std::optional<mx::array> gate;
  if (gated_) {
    gate = ops.slice_last(query, dim, 2 * dim);
    query = ops.slice_last(query, 0, dim);
  }
  const mx::array q = ops.rope(normed(ops, query, q_norm_), batch.positions, rope_);
  const mx::Shape kv = {x.shape(0), spec_.kv.heads, dim};
  const mx::array k =
      ops.rope(normed(ops, ops.reshape(parts[1], kv), k_norm_), batch.positions, rope_);
  const mx::array v = ops.reshape(parts[2], kv);
  mx::array mixed = ops.attention(spec_, {q, k, v}, batch, layer);
  if (gate) mixed = ops.gate(mixed, *gate);
  const int width = spec_.heads * spec_.kv.value_dim;
  return out_(ops, ops.reshape(mixed, {x.shape(0), width}));
}

}  // namespace tandem::models
