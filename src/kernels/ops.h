#pragma once
// The operations that models are written in. A stage owns one Ops, chosen when it is loaded; blocks
// know this interface only. Implementations: cpu/cpu_ops.h runs our own loops at once,
// mlx/mlx_ops.h composes MLX's operations (Metal, CUDA, and on the CPU the oracle of our loops).
//
// Arrays are mx::array as containers: an operation takes and returns arrays of its own Ops, which
// may still have to be computed. What is in them is read by ready() only; what the host has comes
// in by upload(). Arguments are checked here, once for every implementation: a wrong shape is a
// bug. One thread computes with an Ops at a time.

#include <mlx/mlx.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/activations.h"
#include "kernels/attention.h"
#include "kernels/gated_activation.h"
#include "kernels/matrix.h"
#include "kernels/moe.h"
#include "kernels/recurrent.h"
#include "kernels/rope.h"
#include "tandem/dtype.h"
#include "tandem/error.h"

namespace tandem::kernels {

namespace mx = mlx::core;

/// One of several products with the same x.
struct LinearSpec {
  Matrix w;
  std::optional<mx::array> bias;  // [rows]
};

/// A residual sum and its norm.
struct Residual {
  mx::array sum;
  mx::array normed;
};

class Ops {
 public:
  virtual ~Ops() = default;
  Ops(const Ops&) = delete;
  Ops& operator=(const Ops&) = delete;

  Activations activations() const { return activations_; }
  /// The type of arrays between operations, kF32 or kBF16.
  DType dtype() const { return activations_ == Activations::kBF16 ? DType::kBF16 : DType::kF32; }

  // What a stage asks.

  /// Whether attention keeps KV in the pages of a KvSequence; else in its arrays.
  virtual bool keeps_pages() const = 0;
  /// Whether attention can keep KV elements in this type.
  virtual bool keeps_kv(DType type) const = 0;
  /// Whether a Matrix goes on reading the bytes it was prepared from, which must then be aligned to
  /// their elements.
  virtual bool borrows_weights() const = 0;
  /// Names the form of what prepare(), norm_weight() and prepare_rope() make: another Ops of the
  /// same activations can use it when its name is the same.
  virtual std::string weight_form() const = 0;
  /// Whether products with this matrix are right only when it comes dense.
  virtual bool needs_dense(const MatrixData& data) const;
  /// A number that grows while an operation runs, for any thread; nullopt: nobody counts.
  virtual std::optional<std::uint64_t> steps() const { return std::nullopt; }

  // What a model is made of.

  /// Fails on sizes that do not fit the spans, unknown types, or a group that does not divide cols.
  Result<Matrix> prepare(MatrixData data) const;
  /// A norm's weight float32 [n], in the form that rms_norm() is fastest with; no value changes.
  mx::array norm_weight(const mx::array& weight) const;
  /// The same for rope().
  virtual RopeSpec prepare_rope(RopeSpec spec) const { return spec; }

  // In and out.

  /// A copy of the host's elements of `type`, row-major.
  mx::array upload(std::span<const std::byte> elements, DType type, mx::Shape shape) const;
  mx::array upload(std::span<const float> values) const;
  mx::array upload(std::span<const std::int32_t> values) const;
  /// x computed, row-major and readable by the host.
  mx::array ready(const mx::array& x) const;
  /// Waits until nothing of what failed still runs, and forgets further failures of it.
  virtual void settle() const = 0;

  // Shapes and types. Without a copy where memory allows it.

  /// x with another shape of as many elements.
  mx::array reshape(const mx::array& x, mx::Shape shape) const;
  /// Elements [begin, end) of the last axis.
  mx::array slice_last(const mx::array& x, int begin, int end) const;
  /// a and b beside each other along the last axis; the other axes and the types are equal.
  mx::array join_last(const mx::array& a, const mx::array& b) const;
  /// Rows of x [T, n]: int32 [R] -> [R, n].
  mx::array take_rows(const mx::array& x, const mx::array& rows) const;
  /// x in another type (x itself if it is that already).
  mx::array cast(const mx::array& x, DType type) const;

  // DType by element and row by row. x of the other sections too may be of any float type; the
  // result is of dtype() where nothing else is said.

  /// act(gate) * up; same shapes.
  mx::array gated(const mx::array& gate, const mx::array& up, GatedActivation act) const;
  /// cap * tanh(x / cap); cap 0: x.
  mx::array softcap(const mx::array& x, float cap) const;
  /// a + b, computed in float32.
  mx::array add(const mx::array& a, const mx::array& b) const;
  /// x * factor.
  mx::array scale(const mx::array& x, float factor) const;
  /// x / rms(x) * weight over the last axis (arXiv 1910.07467), for weight [n] of norm_weight()
  /// (Gemma's 1 + w is added at load). Sums in one fixed order per row.
  mx::array rms_norm(const mx::array& x, const mx::array& weight, float epsilon) const;
  /// x * sigmoid(gate), for a gate of x's shape or with one value a row.
  mx::array gate(const mx::array& x, const mx::array& gate) const;
  /// rms_norm(x) * silu(gate), rounded once; gate has the shape of x.
  mx::array gated_rms_norm(const mx::array& x, const mx::array& gate, const mx::array& weight,
                           float epsilon) const;
  /// {x + delta, rms_norm(x + delta)} in one pass.
  Residual add_rms_norm(const mx::array& x, const mx::array& delta, const mx::array& weight,
                        float epsilon) const;
  /// x [T, heads, dim], positions int32 [T]; dimensions outside [begin, begin + 2 * table) pass
  /// through.
  mx::array rope(const mx::array& x, const mx::array& positions, const RopeSpec& spec) const;

  // Products. A row of the result depends on its own row of x only, bit for bit, whatever the other
  // rows, threads or blocking.

  /// x W^T + bias: [T, cols] -> [T, rows].
  mx::array linear(const mx::array& x, const Matrix& w,
                   const std::optional<mx::array>& bias = std::nullopt) const;
  /// linear() of x with each matrix, the same bits, in one preparation of x and one parallel loop
  /// where a block has several (queries, keys and values).
  std::vector<mx::array> linear_many(const mx::array& x,
                                     const std::vector<LinearSpec>& specs) const;
  /// One matrix a head: x [T, count, cols] -> [T, count, rows] (MLA's absorbed projections).
  mx::array linear_per_head(const mx::array& x, const Matrix& w) const;
  /// down(act(gate x) * up x) in one pass: [T, H] -> [T, H]. gate and up are [I, H], down is [H,
  /// I]. float32 between the products whatever the activations.
  mx::array gated_mlp(const mx::array& x, const GatedMatrices& mlp) const;
  /// Rows of the table: ids int32 [T] -> [T, cols]. Ids are validated before.
  mx::array embed(const mx::array& ids, const Matrix& table) const;

  // Experts.

  /// logits [T, experts]; correction [experts] (noaux_tc's e_score_correction_bias) is added for
  /// the choice, not for the weights.
  Routing route(const mx::array& logits, const RouterSpec& spec,
                const std::optional<mx::array>& correction = std::nullopt) const;
  /// y[t] = sum_k weights[t,k] * down[e](act(gate[e] x[t]) * up[e] x[t]), e = ids[t,k], summed in
  /// the order of ascending expert id in float32. gate and up are (E, I, H), down is (E, H, I).
  mx::array moe_mlp(const mx::array& x, const Routing& routing, const GatedMatrices& experts) const;

  // Attention.

  /// Writes keys and values of the batch into the KV of its sequences' layer, then attends
  /// causally. q [T, heads, key_dim], k [T, kv.heads, key_dim], v [T, kv.heads, value_dim] (absent
  /// when value_in_key) -> [T, heads, value_dim]. The KvSequences must live until the result is
  /// computed, and it must be computed exactly once. Optional sinks [heads]: one extra logit a head
  /// in the softmax's denominator.
  mx::array attention(const AttentionSpec& spec, const AttentionRows& rows, const Batch& batch,
                      std::size_t layer,
                      const std::optional<mx::array>& sinks = std::nullopt) const;

  // Recurrent layers. A sequence's state is read and replaced, in the order of its tokens, one
  // after the other: the same bits for any split of them into calls. As with attention the
  // KvSequences must live until the result is computed, once.

  /// silu of a causal depthwise convolution over each sequence's rows and the inputs that its state
  /// keeps: x [T, channels], taps float32 [conv_rows + 1, channels], the newest input's last ->
  /// [T, channels]. Sums from the oldest input on.
  mx::array causal_conv(const StateSpec& state, const mx::array& x, const mx::array& taps,
                        const Batch& batch, std::size_t layer) const;
  /// The gated delta rule (arXiv 2412.06464) -> [T, heads, value_dim]. For a head's matrix S, a
  /// token's q and k brought to length 1 and q divided by sqrt(key_dim):
  ///   S <- exp(-exp(log_decay) softplus(a + bias)) S;  u = sigmoid(b) (v - S k);
  ///   S <- S + u k^T;  y = S q.
  mx::array gated_delta(const DeltaSpec& spec, const DeltaRows& rows, const DeltaWeights& weights,
                        const Batch& batch, std::size_t layer) const;

 protected:
  explicit Ops(Activations activations) : activations_(activations) {}

  /// MLX's name of dtype().
  mx::Dtype type() const { return activations_ == Activations::kBF16 ? mx::bfloat16 : mx::float32; }
  /// x in the type of arrays between operations, and in float32.
  mx::array activation(const mx::array& x) const { return cast(x, dtype()); }
  mx::array as_f32(const mx::array& x) const { return cast(x, DType::kF32); }

 private:
  // What an implementation does, with arguments that were checked.
  virtual Result<Matrix> run_prepare(MatrixData data) const = 0;
  virtual mx::array run_norm_weight(const mx::array& weight) const { return weight; }
  virtual mx::array run_ready(const mx::array& x) const = 0;
  virtual mx::array run_reshape(const mx::array& x, mx::Shape shape) const = 0;
  virtual mx::array run_slice_last(const mx::array& x, int begin, int end) const = 0;
  virtual mx::array run_join_last(const mx::array& a, const mx::array& b) const = 0;
  virtual mx::array run_take_rows(const mx::array& x, const mx::array& rows) const = 0;
  virtual mx::array run_cast(const mx::array& x, mx::Dtype type) const = 0;
  virtual mx::array run_gated(const mx::array& gate, const mx::array& up,
                              GatedActivation act) const = 0;
  virtual mx::array run_softcap(const mx::array& x, float cap) const = 0;
  virtual mx::array run_add(const mx::array& a, const mx::array& b) const = 0;
  virtual mx::array run_scale(const mx::array& x, float factor) const = 0;
  virtual mx::array run_rms_norm(const mx::array& x, const mx::array& weight,
                                 float epsilon) const = 0;
  virtual mx::array run_gate(const mx::array& x, const mx::array& gate) const = 0;
  virtual mx::array run_gated_rms_norm(const mx::array& x, const mx::array& gate,
                                       const mx::array& weight, float epsilon) const = 0;
  virtual Residual run_add_rms_norm(const mx::array& x, const mx::array& delta,
                                    const mx::array& weight, float epsilon) const = 0;
  virtual mx::array run_rope(const mx::array& x, const mx::array& positions,
                             const RopeSpec& spec) const = 0;
  virtual std::vector<mx::array> run_linear(const mx::array& x,
                                            const std::vector<LinearSpec>& specs) const = 0;
  virtual mx::array run_linear_per_head(const mx::array& x, const Matrix& w) const = 0;
  virtual mx::array run_gated_mlp(const mx::array& x, const GatedMatrices& mlp) const = 0;
  virtual mx::array run_embed(const mx::array& ids, const Matrix& table) const = 0;
  virtual Routing run_route(const mx::array& logits, const RouterSpec& spec,
                            const std::optional<mx::array>& correction) const = 0;
  virtual mx::array run_moe_mlp(const mx::array& x, const Routing& routing,
                                const GatedMatrices& experts) const = 0;
  virtual mx::array run_attention(const AttentionSpec& spec, const AttentionRows& rows,
                                  const Batch& batch, std::size_t layer,
                                  const std::optional<mx::array>& sinks) const = 0;
  virtual mx::array run_causal_conv(const StateSpec& state, const mx::array& x,
                                    const mx::array& taps, const Batch& batch,
                                    std::size_t layer) const = 0;
  virtual mx::array run_gated_delta(const DeltaSpec& spec, const DeltaRows& rows,
                                    const DeltaWeights& weights, const Batch& batch,
                                    std::size_t layer) const = 0;

  Activations activations_;
};

/// MLX's name of a type that an array can have; bool, fp8 and float64 are not among them.
mx::Dtype mlx_type(DType type);

}  // namespace tandem::kernels
