#include "kernels/ops.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace tandem::kernels {
namespace {

bool is_float(const mx::array& a) {
  return a.dtype() == mx::float32 || a.dtype() == mx::bfloat16 || a.dtype() == mx::float16;
}

mx::Shape without_last(const mx::array& x) {
  mx::Shape shape = x.shape();
  shape.pop_back();
  return shape;
}

void check_weight(const mx::array& x, const mx::array& weight) {
  check(weight.ndim() == 1 && weight.shape(0) == x.shape(-1),
        "a norm's weight is as long as a row");
}

void check_mlp(const mx::array& x, const GatedMatrices& m) {
  check(x.ndim() == 2 && m.gate.cols() == x.shape(1) && m.up.cols() == x.shape(1) &&
            m.up.rows() == m.gate.rows() && m.down.cols() == m.gate.rows() &&
            m.gate.count() == m.up.count() && m.gate.count() == m.down.count(),
        "the matrices of an MLP fit each other and x");
}

void check_router(const RouterSpec& spec, const mx::array& logits,
                  const std::optional<mx::array>& correction) {
  check(logits.ndim() == 2 && logits.shape(1) == spec.experts, "logits are [tokens, experts]");
  check(spec.top_k > 0 && spec.top_k <= spec.experts, "top_k lies within the experts");
  check(spec.groups > 0 && spec.experts % spec.groups == 0 && spec.top_groups > 0 &&
            spec.top_groups <= spec.groups,
        "experts are split evenly over groups");
  check(!correction || (correction->ndim() == 1 && correction->shape(0) == spec.experts),
        "a correction has one value an expert");
}

/// The batch's sequences have `tokens` rows.
void check_batch(const Batch& batch, std::size_t layer, int tokens) {
  int row = 0;
  for (const SequenceRows& r : batch.sequences) {
    check(r.row == row && r.count >= 0 && r.position >= 0 && layer < r.layers.size(),
          "sequences cover the rows in order and keep something in the layer");
    row += r.count;
  }
  check(row == tokens, "sequences cover all rows");
}

void check_attention(const AttentionSpec& spec, const AttentionRows& rows, const Batch& batch,
                     std::size_t layer) {
  const auto& [q, k, v] = rows;
  const KvSpec& kv = spec.kv;
  check(kv.heads > 0 && kv.key_dim > 0 && kv.value_dim > 0 && spec.heads % kv.heads == 0,
        "query heads are a multiple of KV heads");
  check(q.ndim() == 3 && q.shape(1) == spec.heads && q.shape(2) == kv.key_dim,
        "queries are [tokens, heads, key_dim]");
  check(k.ndim() == 3 && k.shape(0) == q.shape(0) && k.shape(1) == kv.heads &&
            k.shape(2) == kv.key_dim,
        "keys are [tokens, kv heads, key_dim]");
  check(v.has_value() != kv.value_in_key, "values are given unless they lie in the keys");
  check(!kv.value_in_key || kv.value_dim <= kv.key_dim, "values in keys fit them");
  if (v) {
    check(v->ndim() == 3 && v->shape(0) == q.shape(0) && v->shape(1) == kv.heads &&
              v->shape(2) == kv.value_dim,
          "values are [tokens, kv heads, value_dim]");
  }
  check_batch(batch, layer, q.shape(0));
}

void check_state(const StateSpec& state) {
  check(state.conv_rows > 0 && state.channels > 0 && state.heads > 0 && state.key_dim > 0 &&
            state.value_dim > 0,
        "a state keeps inputs and matrices");
}

void check_delta(const DeltaSpec& spec, const DeltaRows& rows, const DeltaWeights& weights) {
  const StateSpec& state = spec.state;
  const auto& [qkv, a, b] = rows;
  check(spec.key_heads > 0 && state.heads % spec.key_heads == 0,
        "heads of a state are a multiple of those of keys");
  check(qkv.ndim() == 2 &&
            qkv.shape(1) == 2 * spec.key_heads * state.key_dim + state.heads * state.value_dim,
        "a row has queries, keys and values");
  const mx::Shape gates = {qkv.shape(0), state.heads};
  check(a.shape() == gates && b.shape() == gates, "a row has two gates a head");
  for (const mx::array* each : {&weights.log_decay, &weights.bias}) {
    check(each->ndim() == 1 && each->shape(0) == state.heads && each->dtype() == mx::float32,
          "decays have one float32 a head");
  }
}

}  // namespace

mx::Dtype mlx_type(DType type) {
  switch (type) {
    case DType::kU8:
      return mx::uint8;
    case DType::kI8:
      return mx::int8;
    case DType::kU32:
      return mx::uint32;
    case DType::kI32:
      return mx::int32;
    case DType::kF16:
      return mx::float16;
    case DType::kBF16:
      return mx::bfloat16;
    case DType::kF32:
      return mx::float32;
    default:
      check(false, "no operation takes arrays of this type");
  }
  return mx::float32;
}

bool Ops::needs_dense(const MatrixData&) const { return false; }

Result<Matrix> Ops::prepare(MatrixData data) const {
  if (Status status = check_data(data); !status) return status.error();
  return run_prepare(std::move(data));
}

mx::array Ops::norm_weight(const mx::array& weight) const {
  check(weight.ndim() == 1 && weight.dtype() == mx::float32, "a norm's weight is float32 [n]");
  return run_norm_weight(weight);
}

mx::array Ops::upload(std::span<const std::byte> elements, DType type, mx::Shape shape) const {
  std::size_t size = size_of(type);
  for (const int n : shape) size *= static_cast<std::size_t>(n);
  check(size == elements.size(), "a shape has as many elements as are uploaded");
  check(type == DType::kI32 || type == DType::kBF16 || type == DType::kF32,
        "what is uploaded is int32, bfloat16 or float32");
  // Bytes of a frame lie at any address, an array's do not.
  mx::array array(mx::allocator::malloc(elements.size()), std::move(shape), mlx_type(type));
  if (!elements.empty()) std::memcpy(array.data<std::byte>(), elements.data(), elements.size());
  return array;
}

mx::array Ops::upload(std::span<const float> values) const {
  return upload(std::as_bytes(values), DType::kF32, {static_cast<int>(values.size())});
}

mx::array Ops::upload(std::span<const std::int32_t> values) const {
  return upload(std::as_bytes(values), DType::kI32, {static_cast<int>(values.size())});
}

mx::array Ops::ready(const mx::array& x) const { return run_ready(x); }

mx::array Ops::reshape(const mx::array& x, mx::Shape shape) const {
  std::size_t size = 1;
  for (const int n : shape) size *= static_cast<std::size_t>(n);
  check(size == x.size(), "a shape holds as many elements as before");
  return run_reshape(x, std::move(shape));
}

mx::array Ops::slice_last(const mx::array& x, int begin, int end) const {
  check(begin >= 0 && begin <= end && end <= x.shape(-1), "a slice lies within the last axis");
  if (begin == 0 && end == x.shape(-1)) return x;
  return run_slice_last(x, begin, end);
}

mx::array Ops::join_last(const mx::array& a, const mx::array& b) const {
  check(a.ndim() == b.ndim() && a.dtype() == b.dtype() && without_last(a) == without_last(b),
        "what is joined has equal types and leading axes");
  return run_join_last(a, b);
}

mx::array Ops::take_rows(const mx::array& x, const mx::array& rows) const {
  check(x.ndim() == 2 && rows.ndim() == 1 && rows.dtype() == mx::int32,
        "rows of [tokens, n] are named by int32 [rows]");
  return run_take_rows(x, rows);
}

mx::array Ops::cast(const mx::array& x, DType type) const {
  const mx::Dtype to = mlx_type(type);
  return x.dtype() == to ? x : run_cast(x, to);
}

mx::array Ops::gated(const mx::array& gate, const mx::array& up, GatedActivation act) const {
  check(gate.shape() == up.shape(), "a gate and what it gates have one shape");
  return run_gated(gate, up, act);
}

mx::array Ops::softcap(const mx::array& x, float cap) const {
  check(cap >= 0, "a soft cap is not negative");
  return cap == 0 ? x : run_softcap(x, cap);
}

mx::array Ops::add(const mx::array& a, const mx::array& b) const {
  check(a.shape() == b.shape(), "sums are of one shape");
  return run_add(a, b);
}

mx::array Ops::scale(const mx::array& x, float factor) const { return run_scale(x, factor); }

mx::array Ops::rms_norm(const mx::array& x, const mx::array& weight, float epsilon) const {
  check_weight(x, weight);
  return run_rms_norm(x, weight, epsilon);
}

mx::array Ops::gate(const mx::array& x, const mx::array& gate) const {
  check(gate.shape() == x.shape() || (gate.shape(-1) == 1 && without_last(gate) == without_last(x)),
        "a gate has the shape of what it gates, or one value a row");
  return run_gate(x, gate);
}

mx::array Ops::gated_rms_norm(const mx::array& x, const mx::array& gate, const mx::array& weight,
                              float epsilon) const {
  check_weight(x, weight);
  check(gate.shape() == x.shape(), "a gate and what it gates have one shape");
  return run_gated_rms_norm(x, gate, weight, epsilon);
}

Residual Ops::add_rms_norm(const mx::array& x, const mx::array& delta, const mx::array& weight,
                           float epsilon) const {
  check_weight(x, weight);
  check(x.shape() == delta.shape(), "a residual has the shape of what it is added to");
  return run_add_rms_norm(x, delta, weight, epsilon);
}

mx::array Ops::rope(const mx::array& x, const mx::array& positions, const RopeSpec& spec) const {
  check(x.ndim() == 3 && positions.ndim() == 1 && positions.shape(0) == x.shape(0) &&
            positions.dtype() == mx::int32,
        "rope turns [tokens, heads, dim] by one int32 position a token");
  check(spec.begin >= 0 && !spec.inverse_frequency.empty() &&
            static_cast<std::size_t>(spec.begin) + 2 * spec.inverse_frequency.size() <=
                static_cast<std::size_t>(x.shape(2)),
        "rope's rotated dimensions lie within a head");
  return run_rope(x, positions, spec);
}

mx::array Ops::linear(const mx::array& x, const Matrix& w,
                      const std::optional<mx::array>& bias) const {
  return linear_many(x, {{w, bias}}).front();
}

std::vector<mx::array> Ops::linear_many(const mx::array& x,
                                        const std::vector<LinearSpec>& specs) const {
  check(x.ndim() == 2, "x of a product is [tokens, cols]");
  for (const LinearSpec& spec : specs) {
    check(spec.w.count() == 1 && spec.w.cols() == x.shape(1),
          "a product takes one matrix with as many columns as x");
    check(!spec.bias || (spec.bias->size() == static_cast<std::size_t>(spec.w.rows()) &&
                         is_float(*spec.bias)),
          "a bias has one float a row of the matrix");
  }
  return run_linear(x, specs);
}

mx::array Ops::linear_per_head(const mx::array& x, const Matrix& w) const {
  check(x.ndim() == 3 && x.shape(1) == w.count() && x.shape(2) == w.cols(),
        "x of a product per head is [tokens, heads, cols]");
  return run_linear_per_head(x, w);
}

mx::array Ops::gated_mlp(const mx::array& x, const GatedMatrices& mlp) const {
  check_mlp(x, mlp);
  return run_gated_mlp(x, mlp);
}

mx::array Ops::embed(const mx::array& ids, const Matrix& table) const {
  check(ids.ndim() == 1 && ids.dtype() == mx::int32, "ids are int32 [tokens]");
  return run_embed(ids, table);
}

Routing Ops::route(const mx::array& logits, const RouterSpec& spec,
                   const std::optional<mx::array>& correction) const {
  check_router(spec, logits, correction);
  std::optional<mx::array> added;
  if (correction) added = as_f32(*correction);
  return run_route(as_f32(logits), spec, added);
}

mx::array Ops::moe_mlp(const mx::array& x, const Routing& routing,
                       const GatedMatrices& experts) const {
  check_mlp(x, experts);
  check(routing.ids.ndim() == 2 && routing.ids.shape(0) == x.shape(0) &&
            routing.ids.shape() == routing.weights.shape() && routing.ids.dtype() == mx::int32 &&
            routing.weights.dtype() == mx::float32,
        "a routing has int32 ids and float32 weights [tokens, k]");
  return run_moe_mlp(x, routing, experts);
}

mx::array Ops::attention(const AttentionSpec& spec, const AttentionRows& rows, const Batch& batch,
                         std::size_t layer, const std::optional<mx::array>& sinks) const {
  check_attention(spec, rows, batch, layer);
  std::optional<mx::array> extra;
  if (sinks) extra = as_f32(*sinks);
  return run_attention(spec, rows, batch, layer, extra);
}

mx::array Ops::causal_conv(const StateSpec& state, const mx::array& x, const mx::array& taps,
                           const Batch& batch, std::size_t layer) const {
  check_state(state);
  check(state.conv_type == dtype(), "a state keeps inputs in the type of activations");
  check(x.ndim() == 2 && x.shape(1) == state.channels, "x of a convolution is [tokens, channels]");
  check(taps.ndim() == 2 && taps.shape(0) == state.conv_rows + 1 &&
            taps.shape(1) == state.channels && taps.dtype() == mx::float32,
        "taps are float32 [taps, channels]");
  check_batch(batch, layer, x.shape(0));
  return run_causal_conv(state, x, taps, batch, layer);
}

mx::array Ops::gated_delta(const DeltaSpec& spec, const DeltaRows& rows,
                           const DeltaWeights& weights, const Batch& batch,
                           std::size_t layer) const {
  check_state(spec.state);
  check_delta(spec, rows, weights);
  check_batch(batch, layer, rows.qkv.shape(0));
  return run_gated_delta(spec, rows, weights, batch, layer);
}

}  // namespace tandem::kernels
