#include "models/layer.h"

#include <utility>

#include "kernels/norm.h"

namespace tandem::models {
namespace {

using AttentionBlock = std::variant<GroupedAttentionBlock, LatentAttentionBlock>;
using FeedForwardBlock = std::variant<MlpBlock, MoeBlock>;

AttentionBlock load_attention(WeightReader& reader, const LayerPlan& plan,
                              const Architecture& model, const LayerSpec& layer,
                              kernels::KvType kv_type) {
  if (const auto* grouped = std::get_if<GroupedAttentionBlock::Plan>(&plan.attention)) {
    return GroupedAttentionBlock(reader, *grouped, model, layer, kv_type);
  }
  const auto& latent = std::get<LatentAttentionBlock::Plan>(plan.attention);
  return LatentAttentionBlock(reader, latent, model, layer, kv_type);
}

FeedForwardBlock load_mlp(WeightReader& reader, const LayerPlan& plan, const Architecture& model) {
  const auto* routed = std::get_if<MoeBlock::Plan>(&plan.mlp);
  if (routed != nullptr && model.moe) return MoeBlock(reader, *routed, *model.moe);
  return MlpBlock(reader, std::get<MlpBlock::Plan>(plan.mlp), model.mlp);
}

std::uint64_t stored(const std::vector<LinearPlan>& plans) {
  std::uint64_t bytes = 0;
  for (const LinearPlan& plan : plans) bytes += stored_bytes(plan.matrix);
  return bytes;
}

std::uint64_t stored(const std::optional<LinearPlan>& plan) {
  return plan ? stored_bytes(plan->matrix) : 0;
}

std::uint64_t stored(const GroupedAttentionBlock::Plan& plan) {
  return stored(plan.qkv) + stored_bytes(plan.out.matrix);
}

std::uint64_t stored(const LatentAttentionBlock::Plan& plan) {
  return stored(plan.down) + stored(plan.q_up) + stored_bytes(plan.to_latent.matrix) +
         stored_bytes(plan.from_latent.matrix) + stored_bytes(plan.out.matrix);
}

std::uint64_t stored(const MlpBlock::Plan& plan) {
  return stored(plan.gate_up) + stored(plan.gate) + stored(plan.up) +
         stored_bytes(plan.down.matrix);
}

std::uint64_t stored(const MoeBlock::Plan& plan) {
  return stored_bytes(plan.router.matrix) + stored_bytes(plan.gate) + stored_bytes(plan.up) +
         stored_bytes(plan.down) + (plan.shared ? stored(*plan.shared) : 0);
}

}  // namespace

LayerPlan plan_layer(WeightPlanner& planner, const Architecture& model, int index,
                     const std::string& prefix) {
  LayerPlan plan;
  if (std::holds_alternative<GroupedAttention>(model.attention)) {
    plan.attention = GroupedAttentionBlock::plan(planner, model, prefix + "self_attn.");
  } else {
    plan.attention = LatentAttentionBlock::plan(planner, model, prefix + "self_attn.");
  }
  if (model.moe && model.layers[static_cast<std::size_t>(index)].moe) {
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

std::uint64_t stored_bytes(const LayerPlan& plan) {
  const auto count = [](const auto& block) { return stored(block); };
  return std::visit(count, plan.attention) + std::visit(count, plan.mlp);
}

Layer::Layer(WeightReader& reader, const LayerPlan& plan, const Architecture& model, int index,
             kernels::KvType kv_type)
    : epsilon_(model.norm_epsilon),
      attention_(load_attention(reader, plan, model, model.layers[static_cast<std::size_t>(index)],
                                kv_type)),
      mlp_(load_mlp(reader, plan, model)),
      input_norm_(reader.norm(plan.input_norm)),
      mlp_norm_(reader.norm(plan.mlp_norm)) {
  if (plan.attention_out_norm) attention_out_norm_ = reader.norm(*plan.attention_out_norm);
  if (plan.mlp_out_norm) mlp_out_norm_ = reader.norm(*plan.mlp_out_norm);
}

const kernels::KvSpec& Layer::kv() const {
  return std::visit([](const auto& block) -> const kernels::KvSpec& { return block.kv(); },
                    attention_);
}

mx::array Layer::attend(const kernels::Context& context, const mx::array& x,
                        const mx::array& positions,
                        std::span<const kernels::SequenceRows> rows) const {
  const mx::array out =
      std::visit([&](const auto& block) { return block(context, x, positions, rows); }, attention_);
  return attention_out_norm_ ? kernels::rms_norm(context, out, *attention_out_norm_, epsilon_)
                             : out;
}

mx::array Layer::transform(const kernels::Context& context, const mx::array& x) const {
  const mx::array out = std::visit([&](const auto& block) { return block(context, x); }, mlp_);
  return mlp_out_norm_ ? kernels::rms_norm(context, out, *mlp_out_norm_, epsilon_) : out;
}

}  // namespace tandem::models
