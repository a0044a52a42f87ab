#pragma once
// The operations as our own loops, run at once on the threads of a pool.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cpu/loops.h"
#include "kernels/cpu/prepared_rows.h"
#include "kernels/isa.h"
#include "kernels/ops.h"

namespace tandem {
class ThreadPool;
}

namespace tandem::kernels {

class CpuOps final : public Ops {
 public:
  /// `isa` is resolved. `pool` outlives this; null: the calling thread only. `stream`: of a CPU,
  /// for the few operations that stay MLX's.
  CpuOps(Activations activations, Isa isa, ThreadPool* pool, mx::Stream stream);

  bool keeps_pages() const override { return true; }
  bool keeps_kv(DType type) const override;
  bool borrows_weights() const override { return false; }
  std::string weight_form() const override { return "tiles"; }
  std::optional<std::uint64_t> steps() const override;
  void settle() const override;

 private:
  Result<Matrix> run_prepare(MatrixData data) const override;
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

  /// One loop over all elements: loop(inputs' bytes at a range, output's bytes there, elements).
  using ElementLoop =
      std::function<void(const std::byte*, const std::byte*, std::byte*, std::size_t)>;
  mx::array element_loop(const char* name, std::vector<mx::array> inputs,
                         const ElementLoop& loop) const;
  const RowLoops& row_loops() const { return loops_.rows[dtype()]; }
  ProductContext product_context() const;
  /// x as PreparedRows takes it: float32 or bfloat16.
  mx::array as_rows(const mx::array& x) const;

  const Loops& loops_;
  ThreadPool* pool_;
  mx::Stream stream_;
};

}  // namespace tandem::kernels
