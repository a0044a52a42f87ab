#pragma once
// Attention whose query heads share key and value heads.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "models/architecture.h"
#include "models/loading/linear.h"
#include "models/loading/weight_plan.h"
#include "models/loading/weight_reader.h"

namespace tandem::models {

class GroupedAttentionBlock {
 public:
  struct Plan {
    std::vector<LinearPlan> qkv;
    LinearPlan out;
    std::optional<VectorPlan> q_norm;
    std::optional<VectorPlan> k_norm;
  };

  /// `prefix`: "model.layers.0.self_attn.".
  static Plan plan(WeightPlanner& planner, const Architecture& model, const std::string& prefix);
  GroupedAttentionBlock(WeightReader& reader, const Plan& plan, const Architecture& model,
                        const LayerSpec& layer, DType kv_type);

  kernels::LayerKept kept() const { return spec_.kv; }
  /// x [T, hidden], already normed -> [T, hidden]. `layer`: of the KV of the batch's sequences.
  mx::array operator()(const kernels::Ops& ops, const mx::array& x, const kernels::Batch& batch,
                       std::size_t layer) const;

 private:
  mx::array normed(const kernels::Ops& ops, const mx::array& x,
                   const std::optional<mx::array>& norm) const;

  kernels::AttentionSpec spec_;
  bool gated_;
  kernels::RopeSpec rope_;
  float epsilon_;
  Projection qkv_;
  Linear out_;
  std::optional<mx::array> q_norm_;
  std::optional<mx::array> k_norm_;
};

}  // namespace tandem::models
