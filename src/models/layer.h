#pragma once
// One layer: attention, or what stands in its place, and MLP between norms.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "models/blocks/gated_delta.h"
#include "models/blocks/grouped_attention.h"
#include "models/blocks/latent_attention.h"
#include "models/blocks/mlp.h"
#include "models/blocks/moe.h"

namespace tandem::models {

struct LayerPlan {
  std::variant<GroupedAttentionBlock::Plan, LatentAttentionBlock::Plan, GatedDeltaBlock::Plan>
      attention;
  std::variant<MlpBlock::Plan, MoeBlock::Plan> mlp;
  VectorPlan input_norm;
  VectorPlan mlp_norm;                           // before the MLP
  std::optional<VectorPlan> attention_out_norm;  // sandwich norms only
  std::optional<VectorPlan> mlp_out_norm;
};

/// `prefix`: "model.layers.0.".
LayerPlan plan_layer(WeightPlanner& planner, const Architecture& model, int index,
                     const std::string& prefix);

/// Calls `visit` with each of the layer's matrices, in no order.
void each_matrix(const LayerPlan& plan, const std::function<void(const MatrixPlan&)>& visit);
/// Stored bytes of the layer's matrices.
std::uint64_t stored_bytes(const LayerPlan& plan);

class Layer {
 public:
  Layer(WeightReader& reader, const LayerPlan& plan, const Architecture& model, int index,
        DType kv_type);

  kernels::LayerKept kept() const;
  const mx::array& input_norm() const { return input_norm_; }
  const mx::array& mlp_norm() const { return mlp_norm_; }
  /// Both halves take the normed input and return what is added to the residual. `layer`: of what
  /// the batch's sequences keep.
  mx::array attend(const kernels::Ops& ops, const mx::array& x, const kernels::Batch& batch,
                   std::size_t layer) const;
  mx::array transform(const kernels::Ops& ops, const mx::array& x) const;

 private:
  float epsilon_;
  std::variant<GroupedAttentionBlock, LatentAttentionBlock, GatedDeltaBlock> attention_;
  std::variant<MlpBlock, MoeBlock> mlp_;
  mx::array input_norm_;
  mx::array mlp_norm_;
  std::optional<mx::array> attention_out_norm_;
  std::optional<mx::array> mlp_out_norm_;
};

}  // namespace tandem::models
