#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/mlx/mlx_ops.h"

namespace tandem::kernels {
namespace {

/// Caches grow by this many positions at a time.
constexpr int kGrowTokens = 256;

/// Writes rows [count, heads, dim] at `position` of the cache [heads, capacity, dim].
void append(std::optional<mx::array>& cache, const mx::array& rows, int position, mx::Stream s) {
  const int heads = rows.shape(1);
  const int dim = rows.shape(2);
  const int end = position + rows.shape(0);
  if (!cache || cache->shape(1) < end) {
    const int old = cache ? cache->shape(1) : 0;
    const int capacity = (end + kGrowTokens - 1) / kGrowTokens * kGrowTokens;
    const mx::array more = mx::zeros({heads, capacity - old, dim}, rows.dtype(), s);
    cache = cache ? mx::concatenate({*cache, more}, 1, s) : more;
  }
  cache = mx::slice_update(*cache, mx::transpose(rows, {1, 0, 2}, s), mx::Shape{0, position, 0},
                           mx::Shape{heads, end, dim}, s);
}

/// Which keys [0, length) each of the last `count` positions sees.
mx::array mask(const AttentionSpec& spec, int count, int length, mx::Stream s) {
  const mx::array q =
      mx::reshape(mx::arange(length - count, length, 1, mx::int32, s), {count, 1}, s);
  const mx::array k = mx::reshape(mx::arange(0, length, 1, mx::int32, s), {1, length}, s);
  mx::array causal = mx::less_equal(k, q, s);
  if (spec.window == 0) return causal;
  const mx::array near = mx::greater(k, mx::subtract(q, mx::array(spec.window), s), s);
  return mx::logical_and(causal, near, s);
}

/// Softcap lies between the scores and the softmax, so it needs the steps one by one.
mx::array explicit_attention(const AttentionSpec& spec, const mx::array& q, const mx::array& k,
                             const mx::array& v, const std::optional<mx::array>& sinks,
                             mx::Stream s) {
  const int count = q.shape(1);
  const int group = spec.heads / spec.kv.heads;
  const mx::array grouped = mx::reshape(mx::multiply(q, mx::array(spec.scale), s),
                                        {spec.kv.heads, group, count, spec.kv.key_dim}, s);
  const mx::array keys = mx::swapaxes(mx::expand_dims(k, 1, s), -1, -2, s);
  mx::array scores = mx::matmul(grouped, keys, s);
  scores = mx::multiply(mx::tanh(mx::multiply(scores, mx::array(1 / spec.softcap), s), s),
                        mx::array(spec.softcap), s);
  const mx::array hidden(-std::numeric_limits<float>::infinity());
  scores = mx::where(mask(spec, count, k.shape(1), s), scores, hidden, s);
  if (sinks) {
    const mx::array column = mx::broadcast_to(mx::reshape(*sinks, {spec.kv.heads, group, 1, 1}, s),
                                              {spec.kv.heads, group, count, 1}, s);
    scores = mx::concatenate({scores, column}, -1, s);
  }
  mx::array weights = mx::softmax(scores, -1, true, s);
  if (sinks) {
    weights = mx::slice(weights, {0, 0, 0, 0}, {spec.kv.heads, group, count, k.shape(1)}, s);
  }
  return mx::reshape(mx::matmul(weights, mx::expand_dims(v, 1, s), s),
                     {spec.heads, count, spec.kv.value_dim}, s);
}

}  // namespace

mx::array MlxOps::attend(const AttentionSpec& spec, const mx::array& q, const mx::array& k,
                         const mx::array& v, const std::optional<mx::array>& sinks) const {
  const mx::Stream s = stream_;
  if (spec.softcap != 0) return explicit_attention(spec, q, k, v, sinks, s);
  const int count = q.shape(1);
  const int length = k.shape(1);
  const bool windowed = spec.window != 0 && length > spec.window;
  const auto batch = [&](const mx::array& x) { return mx::expand_dims(x, 0, s); };
  std::optional<mx::array> seen;
  if (windowed) seen = mask(spec, count, length, s);
  std::optional<mx::array> extra;
  if (sinks) extra = mx::astype(*sinks, q.dtype(), s);
  const std::string mode = windowed ? "array" : count > 1 ? "causal" : "";
  return mx::squeeze(mx::fast::scaled_dot_product_attention(
                         batch(q), batch(k), batch(v), spec.scale, mode, seen, extra, false, s),
                     0, s);
}

mx::array MlxOps::run_attention(const AttentionSpec& spec, const AttentionRows& rows,
                                const Batch& batch, std::size_t layer,
                                const std::optional<mx::array>& sinks) const {
  const mx::Stream s = stream_;
  const auto& [q, k, v] = rows;
  check(keeps_kv(spec.kv.type), "MLX's operations keep KV in floating point");
  const mx::Dtype kv_type = spec.kv.type == DType::kBF16 ? mx::bfloat16 : mx::float32;
  const mx::array keys = mx::astype(k, kv_type, s);
  const auto part = [&](const mx::array& x, const SequenceRows& r) {
    return mx::slice(x, {r.row, 0, 0}, {r.row + r.count, x.shape(1), x.shape(2)}, s);
  };
  // All writes come before any read: two entries may be chunks of one sequence.
  for (const SequenceRows& r : batch.sequences) {
    if (r.count == 0) continue;
    KvSequence& kv = r.layers[layer];
    append(kv.keys, part(keys, r), static_cast<int>(r.position), s);
    if (!v) continue;
    append(kv.values, part(mx::astype(*v, kv_type, s), r), static_cast<int>(r.position), s);
  }
  // MLX's GPU kernels keep float32 inside; on the CPU, as the oracle, inputs are widened for it.
  const bool fused = s.device == mx::Device::gpu && type() == kv_type;
  const auto input = [&](const mx::array& x) { return fused ? activation(x) : as_f32(x); };
  const mx::array queries = input(q);
  std::vector<mx::array> results;
  for (const SequenceRows& r : batch.sequences) {
    if (r.count == 0) continue;
    KvSequence& kv = r.layers[layer];
    const int length = static_cast<int>(r.position) + r.count;
    const auto seen = [&](const mx::array& cache, int dim) {
      return mx::slice(cache, {0, 0, 0}, {spec.kv.heads, length, dim}, s);
    };
    const mx::array cached = input(seen(*kv.keys, spec.kv.key_dim));
    const mx::array values =
        v ? input(seen(*kv.values, spec.kv.value_dim)) : seen(cached, spec.kv.value_dim);
    const mx::array out =
        attend(spec, mx::transpose(part(queries, r), {1, 0, 2}, s), cached, values, sinks);
    results.push_back(mx::transpose(out, {1, 0, 2}, s));
  }
  if (results.empty()) return mx::zeros({0, spec.heads, spec.kv.value_dim}, type(), s);
  return activation(results.size() == 1 ? results[0] : mx::concatenate(results, 0, s));
}

}  // namespace tandem::kernels
