#include "models/layer.h"

#include <utility>

namespace tandem::models {
namespace {

using AttentionBlock = std::variant<GroupedAttentionBlock, LatentAttentionBlock, GatedDeltaBlock>;
using FeedForwardBlock = std::variant<MlpBlock, MoeBlock>;

AttentionBlock load_attention(WeightReader& reader, const LayerPlan& plan,
                              const Architecture& model, const LayerSpec& layer, DType kv_type) {
  if (const auto* grouped = std::get_if<GroupedAttentionBlock::Plan>(&plan.attention)) {
    return GroupedAttentionBlock(reader, *grouped, model, layer, kv_type);
  }
  if (const auto* delta = std::get_if<GatedDeltaBlock::Plan>(&plan.attention)) {
    return GatedDeltaBlock(reader, *delta, model);
  }
  const auto& latent = std::get<LatentAttentionBlock::Plan>(plan.attention);
  return LatentAttentionBlock(reader, latent, model, layer, kv_type);
}

FeedForwardBlock load_mlp(WeightReader& reader, const LayerPlan& plan, const Architecture& model) {
  const auto* routed = std::get_if<MoeBlock::Plan>(&plan.mlp);
  if (routed != nullptr && model.moe) return MoeBlock(reader, *routed, *model.moe);
  return MlpBlock(reader, std::get<MlpBlock::Plan>(plan.mlp), model.mlp);
}

using Visit = std::function<void(const MatrixPlan&)>;

void visit_matrices(const std::vector<LinearPlan>& plans, const Visit& visit) {
  for (const LinearPlan& plan : plans) visit(plan.matrix);
}

void visit_matrices(const std::optional<LinearPlan>& plan, const Visit& visit) {
  if (plan) visit(plan->matrix);
}

void visit_matrices(const GroupedAttentionBlock::Plan& plan, const Visit& visit) {
  visit_matrices(plan.qkv, visit);
  visit(plan.out.matrix);
}

void visit_matrices(const LatentAttentionBlock::Plan& plan, const Visit& visit) {
  visit_matrices(plan.down, visit);
  visit_matrices(plan.q_up, visit);
  for (const LinearPlan* each : {&plan.to_latent, &plan.from_latent, &plan.out}) {
    visit(each->matrix);
  }
}

void visit_matrices(const GatedDeltaBlock::Plan& plan, const Visit& visit) {
  visit_matrices(plan.in, visit);
  visit(plan.out.matrix);
}

void visit_matrices(const MlpBlock::Plan& plan, const Visit& visit) {
  visit_matrices(plan.gate_up, visit);
  visit_matrices(plan.gate, visit);
  visit_matrices(plan.up, visit);
  visit(plan.down.matrix);
}

void visit_matrices(const MoeBlock::Plan& plan, const Visit& visit) {
  for (const MatrixPlan* each : {&plan.router.matrix, &plan.gate, &plan.up, &plan.down}) {
    visit(*each);
  }
  if (plan.shared) visit_matrices(*plan.shared, visit);
  visit_matrices(plan.shared_gate, visit);
}

}  // namespace

LayerPlan plan_layer(WeightPlanner& planner, const Architecture& model, int index,
                     const std::string& prefix) {
  LayerPlan plan;
  const LayerSpec& spec = model.layers[static_cast<std::size_t>(index)];
  if (spec.recurrent) {
    plan.attention = GatedDeltaBlock::plan(planner, model, prefix + "linear_attn.");
  } else if (std::holds_alternative<GroupedAttention>(model.attention)) {
    plan.attention = GroupedAttentionBlock::plan(planner, model, prefix + "self_attn.");
  } else {
    plan.attention = LatentAttentionBlock::plan(planner, model, prefix + "self_attn.");
  }
  if (model.moe && spec.moe) {
    plan.mlp = MoeBlock::plan(planner, model, *model.moe, prefix);
  } else {
    plan.mlp = MlpBlock::plan(planner, model.mlp, model.hidden, prefix + "mlp.");
  }
  const auto norm = [&](const char* name) {
    return planner.vector(prefix + name + ".weight", model.hidden, model.norm_offset);
  };
  plan.input_norm = norm("input_layernorm");
  if (model.sandwich_norms) {
    plan.attention_out_norm = norm("post_attention_layernorm");
    plan.mlp_norm = norm("pre_feedforward_layernorm");
    plan.mlp_out_norm = norm("post_feedforward_layernorm");
  } else {
    plan.mlp_norm = norm("post_attention_layernorm");
  }
  return plan;
}

void each_matrix(const LayerPlan& plan, const std::function<void(const MatrixPlan&)>& visit) {
  const auto part = [&](const auto& block) { visit_matrices(block, visit); };
  std::visit(part, plan.attention);
  std::visit(part, plan.mlp);
}

std::uint64_t stored_bytes(const LayerPlan& plan) {
  std::uint64_t bytes = 0;
  each_matrix(plan, [&](const MatrixPlan& matrix) { bytes += stored_bytes(matrix); });
  return bytes;
}

Layer::Layer(WeightReader& reader, const LayerPlan& plan, const Architecture& model, int index,
             DType kv_type)
    : epsilon_(model.norm_epsilon),
      attention_(load_attention(reader, plan, model, model.layers[static_cast<std::size_t>(index)],
                                kv_type)),
      mlp_(load_mlp(reader, plan, model)),
      input_norm_(reader.norm(plan.input_norm)),
      mlp_norm_(reader.norm(plan.mlp_norm)) {
  if (plan.attention_out_norm) attention_out_norm_ = reader.norm(*plan.attention_out_norm);
  if (plan.mlp_out_norm) mlp_out_norm_ = reader.norm(*plan.mlp_out_norm);
}

kernels::LayerKept Layer::kept() const {
  return std::visit([](const auto& block) { return block.kept(); }, attention_);
}

mx::array Layer::attend(const kernels::Ops& ops, const mx::array& x, const kernels::Batch& batch,
                        std::size_t layer) const {
  const mx::array out =
      std::visit([&](const auto& block) { return block(ops, x, batch, layer); }, attention_);
  return attention_out_norm_ ? ops.rms_norm(out, *attention_out_norm_, epsilon_) : out;
}

mx::array Layer::transform(const kernels::Ops& ops, const mx::array& x) const {
  const mx::array out = std::visit([&](const auto& block) { return block(ops, x); }, mlp_);
  return mlp_out_norm_ ? ops.rms_norm(out, *mlp_out_norm_, epsilon_) : out;
}

}  // namespace tandem::models
