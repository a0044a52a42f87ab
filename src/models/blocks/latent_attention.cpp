#include "models/blocks/latent_attention.h"

#include <utility>

namespace tandem::models {
namespace {

/// Of the norms inside the block; no config changes it.
constexpr float kInnerEpsilon = 1e-6F;

void plan_heads(WeightPlanner& planner, const LatentAttention& spec, const std::string& prefix,
                LatentAttentionBlock::Plan& plan) {
  if (!planner.has(prefix + "kv_b_proj.weight") && planner.has(prefix + "embed_q.weight")) {
    plan.to_latent.matrix = planner.stack(
        {planner.source(prefix + "embed_q", spec.heads, spec.kv_rank, spec.nope_dim)},
        {{0, 0, 0, spec.heads * spec.kv_rank}}, spec.heads, spec.kv_rank, spec.nope_dim);
    plan.from_latent.matrix = planner.stack(
        {planner.source(prefix + "unembed_out", spec.heads, spec.value_dim, spec.kv_rank)},
        {{0, 0, 0, spec.heads * spec.value_dim}}, spec.heads, spec.value_dim, spec.kv_rank);
    return;
  }
  const int head_rows = spec.nope_dim + spec.value_dim;
  const Source both = planner.source(prefix + "kv_b_proj", 0, spec.heads * head_rows, spec.kv_rank);
  std::vector<Piece> keys;
  std::vector<Piece> values;
  for (int head = 0; head < spec.heads; ++head) {
    keys.push_back({0, 0, head * head_rows, spec.nope_dim});
    values.push_back({0, 0, head * head_rows + spec.nope_dim, spec.value_dim});
  }
  plan.to_latent.matrix =
      planner.stack({both}, std::move(keys), spec.heads, spec.kv_rank, spec.nope_dim);
  plan.to_latent.matrix.transposed = true;
  plan.from_latent.matrix =
      planner.stack({both}, std::move(values), spec.heads, spec.value_dim, spec.kv_rank);
}

}  // namespace

LatentAttentionBlock::Plan LatentAttentionBlock::plan(WeightPlanner& planner,
                                                      const Architecture& model,
                                                      const std::string& prefix) {
  const auto& spec = std::get<LatentAttention>(model.attention);
  const int q_rows = spec.heads * (spec.nope_dim + spec.rope_dim);
  const RowsOf kv_down{prefix + "kv_a_proj_with_mqa", spec.kv_rank + spec.rope_dim};
  Plan plan;
  if (spec.q_rank > 0) {
    const RowsOf modules[] = {{prefix + "q_a_proj", spec.q_rank}, kv_down};
    plan.down = planner.linears(modules, model.hidden, spec.bias);
    plan.q_norm = planner.vector(prefix + "q_a_layernorm.weight", spec.q_rank);
    plan.q_up = planner.linear(prefix + "q_b_proj", q_rows, spec.q_rank, false);
  } else if (spec.bias) {
    // q_proj never has a bias, so the two stay apart.
    plan.down.push_back(planner.linear(prefix + "q_proj", q_rows, model.hidden, false));
    plan.down.push_back(planner.linear(kv_down.module, kv_down.rows, model.hidden, true));
  } else {
    const RowsOf modules[] = {{prefix + "q_proj", q_rows}, kv_down};
    plan.down = planner.linears(modules, model.hidden, false);
  }
  plan.kv_norm = planner.vector(prefix + "kv_a_layernorm.weight", spec.kv_rank);
  plan_heads(planner, spec, prefix, plan);
  plan.out =
      planner.linear(prefix + "o_proj", model.hidden, spec.heads * spec.value_dim, spec.bias);
  return plan;
}

LatentAttentionBlock::LatentAttentionBlock(WeightReader& reader, const Plan& plan,
                                           const Architecture& model, const LayerSpec& layer,
                                           DType kv_type)
    : q_rope_(reader.rope(model.ropes[static_cast<std::size_t>(layer.rope)])),
      k_rope_(q_rope_),
      nope_dim_(std::get<LatentAttention>(model.attention).nope_dim),
      kv_norm_(reader.norm(plan.kv_norm)) {
  const auto& spec = std::get<LatentAttention>(model.attention);
  q_rope_.begin = spec.nope_dim;
  k_rope_.begin = spec.kv_rank;
  spec_.heads = spec.heads;
  spec_.kv = {1, spec.kv_rank + spec.rope_dim, spec.kv_rank, true, kv_type};
  spec_.scale = spec.scale;
  spec_.window = layer.window;
  const int q_part = spec.q_rank > 0 ? spec.q_rank : spec.heads * (spec.nope_dim + spec.rope_dim);
  const int parts[] = {q_part, spec.kv_rank, spec.rope_dim};
  down_ = reader.projection(plan.down, parts);
  if (plan.q_norm) q_norm_ = reader.norm(*plan.q_norm);
  if (plan.q_up) q_up_ = reader.linear(*plan.q_up);
  to_latent_ = reader.linear(plan.to_latent);
  from_latent_ = reader.linear(plan.from_latent);
  out_ = reader.linear(plan.out);
}

mx::array LatentAttentionBlock::query(const kernels::Ops& ops, mx::array q,
                                      const mx::array& positions) const {
  const int tokens = q.shape(0);
  if (q_norm_) q = q_up_(ops, ops.rms_norm(q, *q_norm_, kInnerEpsilon));
  const int dim = q.shape(1) / spec_.heads;
  q = ops.reshape(q, {tokens, spec_.heads, dim});
  q = ops.rope(q, positions, q_rope_);
  const mx::array nope = ops.slice_last(q, 0, nope_dim_);
  const mx::array turned = ops.slice_last(q, nope_dim_, dim);
  return ops.join_last(to_latent_.per_head(ops, nope), turned);
}

mx::array LatentAttentionBlock::operator()(const kernels::Ops& ops, const mx::array& x,
                                           const kernels::Batch& batch, std::size_t layer) const {
  const int tokens = x.shape(0);
  const std::vector<mx::array> parts = down_(ops, x);
  const mx::array q = query(ops, parts[0], batch.positions);
  const mx::array latent = ops.rms_norm(parts[1], kv_norm_, kInnerEpsilon);
  const mx::array joined =
      ops.reshape(ops.join_last(latent, parts[2]), {tokens, 1, spec_.kv.key_dim});
  const mx::array k = ops.rope(joined, batch.positions, k_rope_);
  const mx::array mixed = ops.attention(spec_, {q, k, std::nullopt}, batch, layer);
  const mx::array values = from_latent_.per_head(ops, mixed);
  return out_(ops, ops.reshape(values, {tokens, spec_.heads * values.shape(2)}));
}

}  // namespace tandem::models
