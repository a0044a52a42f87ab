#include <optional>
#include <utility>
#include <vector>

#include "kernels/mlx/mlx_ops.h"

namespace tandem::kernels {
namespace {

/// Tokens of the delta rule that are one graph: each is a dozen operations.
constexpr int kTokensAtOnce = 32;

mx::array rows_of(const mx::array& x, const SequenceRows& r, mx::Stream s) {
  mx::Shape begin(x.ndim(), 0);
  mx::Shape end = x.shape();
  begin[0] = r.row;
  end[0] = r.row + r.count;
  return mx::slice(x, begin, end, s);
}

/// Elements [begin, end) of the last axis as heads [T, heads, dim] of float32.
mx::array heads_of(const mx::array& x, int begin, int heads, int dim, mx::Stream s) {
  const mx::array part = mx::slice(x, {0, begin}, {x.shape(0), begin + heads * dim}, s);
  return mx::astype(mx::reshape(part, {x.shape(0), heads, dim}, s), mx::float32, s);
}

/// Rows of the last axis brought to length 1.
mx::array to_length(const mx::array& x, mx::Stream s) {
  const mx::array squares = mx::sum(mx::multiply(x, x, s), -1, true, s);
  return mx::multiply(x, mx::rsqrt(mx::add(squares, mx::array(1e-6F), s), s), s);
}

mx::array softplus(const mx::array& x, mx::Stream s) {
  return mx::logaddexp(x, mx::array(0.0F), s);
}

/// What the steps of one sequence read, [T, heads, ...].
struct Steps {
  mx::array q;
  mx::array k;
  mx::array v;
  mx::array decay;
  mx::array rate;
};

/// y of token t [heads, value_dim]; replaces the state [heads, value_dim, key_dim].
mx::array step(const Steps& steps, int t, mx::array& state, mx::Stream s) {
  const auto at = [&](const mx::array& x) { return mx::take(x, t, 0, s); };
  const auto beside = [&](const mx::array& x) { return mx::expand_dims(x, -1, s); };
  const mx::array k = mx::expand_dims(at(steps.k), 1, s);
  const mx::array q = mx::expand_dims(at(steps.q), 1, s);
  state = mx::multiply(state, beside(beside(at(steps.decay))), s);
  const mx::array seen = mx::sum(mx::multiply(state, k, s), -1, false, s);
  const mx::array change =
      mx::multiply(mx::subtract(at(steps.v), seen, s), beside(at(steps.rate)), s);
  state = mx::add(state, mx::multiply(beside(change), k, s), s);
  return mx::sum(mx::multiply(state, q, s), -1, false, s);
}

}  // namespace

mx::array MlxOps::run_causal_conv(const StateSpec& state, const mx::array& x, const mx::array& taps,
                                  const Batch& batch, std::size_t layer) const {
  const mx::Stream s = stream_;
  const mx::array inputs = activation(x);
  std::vector<mx::array> results;
  for (const SequenceRows& r : batch.sequences) {
    if (r.count == 0) continue;
    KvSequence& kept = r.layers[layer];
    const mx::array before =
        kept.inputs ? *kept.inputs : mx::zeros({state.conv_rows, state.channels}, type(), s);
    const mx::array all = mx::concatenate({before, rows_of(inputs, r, s)}, 0, s);
    kept.inputs = mx::contiguous(
        mx::slice(all, {r.count, 0}, {r.count + state.conv_rows, state.channels}, s), false, s);
    const mx::array wide = as_f32(all);
    std::optional<mx::array> sum;
    for (int j = 0; j <= state.conv_rows; ++j) {
      const mx::array tap = mx::slice(taps, {j, 0}, {j + 1, state.channels}, s);
      const mx::array shifted = mx::slice(wide, {j, 0}, {j + r.count, state.channels}, s);
      const mx::array product = mx::multiply(tap, shifted, s);
      sum = sum ? mx::add(*sum, product, s) : product;
    }
    const mx::array out = activation(mx::multiply(*sum, mx::sigmoid(*sum, s), s));
    // Nothing else asks for the inputs before the next call, and they hold on to this one's.
    results.push_back(mx::depends({out}, {*kept.inputs}).front());
  }
  if (results.empty()) return mx::zeros({0, state.channels}, type(), s);
  return results.size() == 1 ? results[0] : mx::concatenate(results, 0, s);
}

mx::array MlxOps::run_gated_delta(const DeltaSpec& spec, const DeltaRows& rows,
                                  const DeltaWeights& weights, const Batch& batch,
                                  std::size_t layer) const {
  const mx::Stream s = stream_;
  const StateSpec& state = spec.state;
  const int keys = spec.key_heads * state.key_dim;
  const int shared = state.heads / spec.key_heads;
  const mx::array scale = mx::rsqrt(mx::array(static_cast<float>(state.key_dim)), s);
  const mx::array steps = softplus(mx::add(as_f32(rows.a), weights.bias, s), s);
  const mx::array decay =
      mx::exp(mx::negative(mx::multiply(mx::exp(weights.log_decay, s), steps, s), s), s);
  const mx::array rate = mx::sigmoid(as_f32(rows.b), s);
  const auto each_head = [&](int begin) {
    const mx::array heads = heads_of(rows.qkv, begin, spec.key_heads, state.key_dim, s);
    return mx::repeat(to_length(heads, s), shared, 1, s);
  };
  const Steps all{mx::multiply(each_head(0), scale, s), each_head(keys),
                  heads_of(rows.qkv, 2 * keys, state.heads, state.value_dim, s), decay, rate};
  std::vector<mx::array> results;
  for (const SequenceRows& r : batch.sequences) {
    KvSequence& kept = r.layers[layer];
    mx::array matrix =
        kept.state ? *kept.state
                   : mx::zeros({state.heads, state.value_dim, state.key_dim}, mx::float32, s);
    for (int t = 0; t < r.count; ++t) {
      results.push_back(activation(step(all, r.row + t, matrix, s)));
      if (t % kTokensAtOnce == kTokensAtOnce - 1) mx::eval(matrix, results.back());
    }
    if (r.count > 0) kept.state = matrix;
  }
  if (results.empty()) return mx::zeros({0, state.heads, state.value_dim}, type(), s);
  return mx::stack(results, 0, s);
}

}  // namespace tandem::kernels
