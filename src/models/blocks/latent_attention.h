#pragma once
// Multi-head latent attention in its absorbed form: the cache keeps one latent and one rotated key
// a token; queries are brought to the latent space and results back from it, head by head.

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

class LatentAttentionBlock {
 public:
  struct Plan {
    std::vector<LinearPlan> down;  // q_a_proj or q_proj, and kv_a_proj_with_mqa
    std::optional<VectorPlan> q_norm;
    std::optional<LinearPlan> q_up;
    VectorPlan kv_norm;
    LinearPlan to_latent;    // a head's query -> the latent space
    LinearPlan from_latent;  // the latent space -> a head's value
    LinearPlan out;
  };

  /// `prefix`: "model.layers.0.self_attn.". The per-head matrices are embed_q and unembed_out where
  /// the folder has them (newer mlx-lm), else the rows of kv_b_proj: values keep their
  /// quantization, the transposed query side becomes dense.
  static Plan plan(WeightPlanner& planner, const Architecture& model, const std::string& prefix);
  LatentAttentionBlock(WeightReader& reader, const Plan& plan, const Architecture& model,
                       const LayerSpec& layer, DType kv_type);

  kernels::LayerKept kept() const { return spec_.kv; }
  /// x [T, hidden], already normed -> [T, hidden]. `layer`: of the KV of the batch's sequences.
  mx::array operator()(const kernels::Ops& ops, const mx::array& x, const kernels::Batch& batch,
                       std::size_t layer) const;

 private:
  mx::array query(const kernels::Ops& ops, mx::array q, const mx::array& positions) const;

  kernels::AttentionSpec spec_;
  kernels::RopeSpec q_rope_;
  kernels::RopeSpec k_rope_;
  int nope_dim_;
  Projection down_;
  std::optional<mx::array> q_norm_;
  Linear q_up_;
  mx::array kv_norm_;
  Linear to_latent_;
  Linear from_latent_;
  Linear out_;
};

}  // namespace tandem::models
