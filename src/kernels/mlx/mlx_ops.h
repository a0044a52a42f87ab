#pragma once
// The operations as compositions of MLX's own: for Metal and CUDA, and on the CPU the oracle of our
// loops.

#include <optional>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace tandem::kernels {

class MlxOps final : public Ops {
 public:
  MlxOps(Activations activations, mx::Stream stream);

  bool keeps_pages() const override { return false; }
  bool keeps_kv(DType type) const override;
  bool borrows_weights() const override { return true; }
  std::string weight_form() const override { return on_gpu() ? "arrays of a GPU" : "arrays"; }
  bool needs_dense(const MatrixData& data) const override;
  RopeSpec prepare_rope(RopeSpec spec) const override;
  void settle() const override;

 private:
  Result<Matrix> run_prepare(MatrixData data) const override;
  mx::array run_norm_weight(const mx::array& weight) const override;
  mx::array run_ready(const mx::array& x) const override;
  mx::array run_reshape(const mx::array& x, mx::Shape shape) const override;
  mx::array run_slice_last(const mx::array& x, int begin, int end) const override;
  mx::array run_join_last(const mx::array& a, const mx::array& b) const override;
  mx::array run_take_rows(const mx::array& x, const mx::array& rows) const override;
  mx::array run_cast(const mx::array& x, mx::Dtype type) const override;
  mx::array run_gated(const mx::array& gate, const mx::array& up,
                      GatedActivation act) const override;
  mx::array run_softcap(const mx::array& x, float cap) const override;
  mx::array run_add(const mx::array& a, const mx::array& b) const override;
  mx::array run_scale(const mx::array& x, float factor) const override;
  mx::array run_rms_norm(const mx::array& x, const mx::array& weight, float epsilon) const override;
  mx::array run_gate(const mx::array& x, const mx::array& gate) const override;
  mx::array run_gated_rms_norm(const mx::array& x, const mx::array& gate, const mx::array& weight,
                               float epsilon) const override;
  Residual run_add_rms_norm(const mx::array& x, const mx::array& delta, const mx::array& weight,
                            float epsilon) const override;
  mx::array run_rope(const mx::array& x, const mx::array& positions,
                     const RopeSpec& spec) const override;
  std::vector<mx::array> run_linear(const mx::array& x,
                                    const std::vector<LinearSpec>& specs) const override;
  mx::array run_linear_per_head(const mx::array& x, const Matrix& w) const override;
  mx::array run_gated_mlp(const mx::array& x, const GatedMatrices& mlp) const override;
  mx::array run_embed(const mx::array& ids, const Matrix& table) const override;
  Routing run_route(const mx::array& logits, const RouterSpec& spec,
                    const std::optional<mx::array>& correction) const override;
  mx::array run_moe_mlp(const mx::array& x, const Routing& routing,
                        const GatedMatrices& experts) const override;
  mx::array run_attention(const AttentionSpec& spec, const AttentionRows& rows, const Batch& batch,
                          std::size_t layer, const std::optional<mx::array>& sinks) const override;
  mx::array run_causal_conv(const StateSpec& state, const mx::array& x, const mx::array& taps,
                            const Batch& batch, std::size_t layer) const override;
  mx::array run_gated_delta(const DeltaSpec& spec, const DeltaRows& rows,
                            const DeltaWeights& weights, const Batch& batch,
                            std::size_t layer) const override;

  bool on_gpu() const { return stream_.device == mx::Device::gpu; }
  mx::array product(const mx::array& x, const Matrix& w,
                    const std::optional<mx::array>& bias) const;
  mx::array rope_steps(const mx::array& x, const mx::array& positions, const RopeSpec& spec) const;
  mx::array turned(const mx::array& part, const mx::array& positions, const RopeSpec& spec) const;
  /// q [heads, count, key_dim] over k, v [kv.heads, length, dim] -> [heads, count, value_dim].
  mx::array attend(const AttentionSpec& spec, const mx::array& q, const mx::array& k,
                   const mx::array& v, const std::optional<mx::array>& sinks) const;

  mx::Stream stream_;
  int cuda_generation_;
};

}  // namespace tandem::kernels
