#pragma once
// Loops of recurrent layers against twins in double, and their bits for tokens in chunks. Free of
// MLX, as loop_values.h.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/cpu/recurrent_table.h"
#include "loop_values.h"

namespace tandem::kernels {

struct RecurrentCase {
  int key_heads;
  int heads;
  int key_dim;
  int value_dim;
  int taps;
};
inline constexpr RecurrentCase kRecurrentCases[] = {
    {1, 1, 4, 16, 2}, {2, 4, 16, 24, 4}, {1, 3, 7, 5, 3}, {2, 2, 128, 128, 4}, {3, 6, 33, 40, 5}};

inline std::size_t channels_of(const RecurrentCase& c) {
  return static_cast<std::size_t>(2 * c.key_heads * c.key_dim + c.heads * c.value_dim);
}

/// Inputs of a sequence, rounded to the element type.
struct RecurrentValues {
  std::vector<float> x, taps, a, b, log_decay, bias;
  int tokens;

  RecurrentValues(const RecurrentCase& c, DType element, int count, unsigned seed) : tokens(count) {
    Rng rng(seed);
    const auto n = static_cast<std::size_t>(count);
    x = rounded(random_values(rng, n * channels_of(c)), element);
    a = rounded(random_values(rng, n * c.heads, 2), element);
    b = rounded(random_values(rng, n * c.heads, 2), element);
    taps = random_values(rng, static_cast<std::size_t>(c.taps) * channels_of(c), 0.6F);
    log_decay = random_values(rng, c.heads);
    bias = random_values(rng, c.heads);
  }
};

inline std::vector<double> conv_twin(const RecurrentCase& c, const RecurrentValues& v) {
  const std::size_t channels = channels_of(c);
  std::vector<double> out(v.x.size());
  for (int t = 0; t < v.tokens; ++t) {
    for (std::size_t i = 0; i < channels; ++i) {
      double sum = 0;
      for (int j = 0; j < c.taps; ++j) {
        const int from = t - c.taps + 1 + j;
        if (from < 0) continue;
        sum += static_cast<double>(v.taps[j * channels + i]) *
               v.x[static_cast<std::size_t>(from) * channels + i];
      }
      out[static_cast<std::size_t>(t) * channels + i] = sum / (1 + std::exp(-sum));
    }
  }
  return out;
}

inline std::vector<double> delta_twin(const RecurrentCase& c, const RecurrentValues& v) {
  const int row = 2 * c.key_heads * c.key_dim + c.heads * c.value_dim;
  std::vector<double> out;
  std::vector<double> state(static_cast<std::size_t>(c.heads) * c.value_dim * c.key_dim);
  for (int t = 0; t < v.tokens; ++t) {
    for (int h = 0; h < c.heads; ++h) {
      const float* q = v.x.data() + t * row + h * c.key_heads / c.heads * c.key_dim;
      const float* k = q + c.key_heads * c.key_dim;
      const float* value = v.x.data() + t * row + 2 * c.key_heads * c.key_dim + h * c.value_dim;
      const auto length = [&](const float* p) {
        double squares = 1e-6;
        for (int i = 0; i < c.key_dim; ++i) squares += static_cast<double>(p[i]) * p[i];
        return std::sqrt(squares);
      };
      const double q_length = length(q) * std::sqrt(c.key_dim);
      const double k_length = length(k);
      const double x = static_cast<double>(v.a[t * c.heads + h]) + v.bias[h];
      const double step = std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
      const double decay = std::exp(-std::exp(v.log_decay[h]) * step);
      const double rate = 1 / (1 + std::exp(-static_cast<double>(v.b[t * c.heads + h])));
      for (int j = 0; j < c.value_dim; ++j) {
        double* s = state.data() + (h * c.value_dim + j) * c.key_dim;
        double seen = 0;
        for (int i = 0; i < c.key_dim; ++i) seen += (s[i] *= decay) * k[i] / k_length;
        const double change = (value[j] - seen) * rate;
        double y = 0;
        for (int i = 0; i < c.key_dim; ++i)
          y += (s[i] += change * k[i] / k_length) * q[i] / q_length;
        out.push_back(y);
      }
    }
  }
  return out;
}

/// The worst distance of loops' results from a twin's.
inline double worst(const std::vector<float>& got, const std::vector<double>& want, DType element,
                    double relative, double absolute) {
  double most = got.size() == want.size() ? 0 : 1e9;
  for (std::size_t i = 0; i < got.size() && i < want.size(); ++i) {
    most = std::max(most, distance(got[i], want[i], element, relative, absolute));
  }
  return most;
}

inline std::size_t item_of(DType element) { return element == DType::kBF16 ? 2 : 4; }

inline std::vector<float> values_in(const Buffer& buffer) {
  std::vector<float> values(buffer.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = buffer[i];
  return values;
}

/// The convolution of one sequence in chunks of so many tokens, each cut into two ranges of
/// channels.
inline std::vector<float> run_conv(const RecurrentLoops& loops, const RecurrentCase& c,
                                   const RecurrentValues& v, DType element, int chunk) {
  const std::size_t channels = channels_of(c);
  const Buffer x(element, v.x, 1);
  Buffer inputs(element, std::vector<float>((c.taps - 1) * channels, 0.0F), 0);
  Buffer out(element, v.x.size(), 3);
  for (int at = 0; at < v.tokens; at += chunk) {
    for (const bool second : {false, true}) {
      ConvTask task;
      const std::size_t row = static_cast<std::size_t>(at) * channels * item_of(element);
      task.x = x.data() + row;
      task.taps = v.taps.data();
      task.inputs = inputs.data();
      task.out = out.data() + row;
      task.rows = static_cast<std::size_t>(std::min(chunk, v.tokens - at));
      task.kept = static_cast<std::size_t>(c.taps - 1);
      task.channels = channels;
      task.begin = second ? channels / 3 : 0;
      task.end = second ? channels : channels / 3;
      loops.conv(task);
    }
  }
  return out.guards_hold() && inputs.guards_hold() ? values_in(out) : std::vector<float>{};
}

/// The delta rule of one sequence in chunks of so many tokens.
inline std::vector<float> run_delta(const RecurrentLoops& loops, const RecurrentCase& c,
                                    const RecurrentValues& v, DType element, int chunk) {
  const auto heads = static_cast<std::size_t>(c.heads);
  const auto value_dim = static_cast<std::size_t>(c.value_dim);
  const DeltaShape shape{static_cast<std::size_t>(c.key_heads), heads,
                         static_cast<std::size_t>(c.key_dim), value_dim, channels_of(c)};
  const Buffer x(element, v.x, 1), a(element, v.a, 3), b(element, v.b, 1);
  std::vector<float> decay(v.a.size()), rate(v.a.size());
  for (std::size_t row = 0; row < static_cast<std::size_t>(v.tokens); ++row) {
    const std::size_t at = row * heads;
    loops.delta_gates(v.log_decay.data(), v.bias.data(), a.data() + at * item_of(element),
                      b.data() + at * item_of(element), decay.data() + at, rate.data() + at, heads);
  }
  const std::size_t tiles = (value_dim + StateLayout::kTileRows - 1) / StateLayout::kTileRows;
  const std::size_t head_floats = tiles * shape.key_dim * StateLayout::kTileRows;
  Buffer state(DType::kF32, std::vector<float>(heads * head_floats, 0.0F), 0);
  Buffer out(element, static_cast<std::size_t>(v.tokens) * heads * value_dim, 1);
  std::vector<float> scratch(delta_scratch(shape));
  for (int at = 0; at < v.tokens; at += chunk) {
    const auto row = static_cast<std::size_t>(at);
    for (std::size_t head = 0; head < heads; ++head) {
      DeltaTask task;
      task.qkv = x.data() + row * shape.row * item_of(element);
      task.decay = decay.data() + row * heads;
      task.rate = rate.data() + row * heads;
      task.matrix = reinterpret_cast<float*>(state.data()) + head * head_floats;
      task.out = out.data() + row * heads * value_dim * item_of(element);
      task.rows = static_cast<std::size_t>(std::min(chunk, v.tokens - at));
      task.head = head;
      loops.delta(shape, task, scratch.data());
    }
  }
  return out.guards_hold() && state.guards_hold() ? values_in(out) : std::vector<float>{};
}

/// The worst distance of convolution and delta rule from their twins; 1e9 where chunks change a
/// bit.
inline double check_recurrent(const RecurrentLoops& loops, const RecurrentCase& c, DType element,
                              unsigned seed) {
  const RecurrentValues v(c, element, 37, seed);
  const std::vector<float> conv = run_conv(loops, c, v, element, 37);
  const std::vector<float> delta = run_delta(loops, c, v, element, 37);
  for (const int chunk : {1, 5, 17}) {
    if (run_conv(loops, c, v, element, chunk) != conv) return 1e9;
    if (run_delta(loops, c, v, element, chunk) != delta) return 1e9;
  }
  return std::max(worst(conv, conv_twin(c, v), element, 1e-6, 2e-6),
                  worst(delta, delta_twin(c, v), element, 1e-5, 2e-5));
}

}  // namespace tandem::kernels
