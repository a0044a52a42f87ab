#pragma once
// Attention whose query heads share key and value heads.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/rope.h"
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
                        const LayerSpec& layer, kernels::KvType kv_type);

  const kernels::KvSpec& kv() const { return spec_.kv; }
  /// x [T, hidden], already normed -> [T, hidden].
  mx::array operator()(const kernels::Context& context, const mx::array& x,
                       const mx::array& positions,
                       std::span<const kernels::SequenceRows> rows) const;

 private:
  mx::array heads(const kernels::Context& context, const mx::array& x, int count,
                  const std::optional<mx::array>& norm) const;

  kernels::AttentionSpec spec_;
  kernels::RopeSpec rope_;
  float epsilon_;
  Projection qkv_;
  Linear out_;
  std::optional<mx::array> q_norm_;
  std::optional<mx::array> k_norm_;
};

}  // namespace tandem::models
