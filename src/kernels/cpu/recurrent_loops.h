#pragma once
// Loops of recurrent layers. Every sum has one order that depends on neither how many rows come at
// once nor who computes them: taps from the oldest input on, rows of a state one after the other.

#include <cstring>

#include "kernels/cpu/activation_loops.h"
#include "kernels/cpu/norm_loops.h"
#include "kernels/cpu/recurrent_table.h"
#include "kernels/cpu/simd.h"

namespace tandem::kernels::HWY_NAMESPACE {

inline constexpr std::size_t kTileRows = StateLayout::kTileRows;
inline constexpr std::size_t kTileVectors = kTileRows / kLanes;
static_assert(kTileRows % kLanes == 0);

/// Input `index` of those that were kept, and after them the rows.
template <class E>
HWY_INLINE const E* conv_input(const ConvTask& task, std::size_t index) {
  const auto* kept = static_cast<const E*>(task.inputs);
  const auto* rows = static_cast<const E*>(task.x);
  return index < task.kept ? kept + index * task.channels
                           : rows + (index - task.kept) * task.channels;
}

template <class E>
void conv(const ConvTask& task) {
  for (std::size_t row = 0; row < task.rows; ++row) {
    E* out = static_cast<E*>(task.out) + row * task.channels;
    for_vectors(task.end - task.begin, [&](std::size_t i, auto part) {
      const std::size_t c = task.begin + i;
      Vec sum = hn::Mul(load(task.taps + c, part), load(conv_input<E>(task, row) + c, part));
      for (std::size_t j = 1; j <= task.kept; ++j) {
        const Vec tap = load(task.taps + j * task.channels + c, part);
        sum = hn::MulAdd(tap, load(conv_input<E>(task, row + j) + c, part), sum);
      }
      store(silu(sum), out + c, part);
    });
  }
  // Ascending: what moves down is read before it is written over.
  for (std::size_t i = 0; i < task.kept && task.rows > 0; ++i) {
    E* to = static_cast<E*>(task.inputs) + i * task.channels + task.begin;
    const E* from = conv_input<E>(task, task.rows + i) + task.begin;
    std::memcpy(to, from, (task.end - task.begin) * sizeof(E));
  }
}

/// log(1 + e^x).
HWY_INLINE Vec softplus(Vec x) {
  const Vec small = hn::Log1p(kF32, exp_nonpositive(hn::Neg(hn::Abs(x))));
  return hn::Add(hn::Max(x, hn::Zero(kF32)), small);
}

template <class E>
void delta_gates(const float* log_decay, const float* bias, const void* a, const void* b,
                 float* decay, float* rate, std::size_t n) {
  for_vectors(n, [&](std::size_t i, auto part) {
    const Vec step =
        softplus(hn::Add(load(static_cast<const E*>(a) + i, part), load(bias + i, part)));
    const Vec speed = hn::Exp(kF32, load(log_decay + i, part));
    store(exp_nonpositive(hn::Neg(hn::Mul(speed, step))), decay + i, part);
    store(sigmoid(load(static_cast<const E*>(b) + i, part)), rate + i, part);
  });
}

/// x / sqrt(sum of squares + 1e-6) * scale.
template <class E>
HWY_INLINE void to_length(const E* x, std::size_t n, float scale, float* out) {
  constexpr float kEpsilon = 1e-6f;
  const Vec inverse = hn::Div(set(1.0f), hn::Sqrt(set(sum_of_squares(x, n) + kEpsilon)));
  for_vectors(n, [&](std::size_t i, auto part) {
    store(hn::Mul(hn::Mul(load(x + i, part), inverse), set(scale)), out + i, part);
  });
}

/// Sums over the columns of a tile for its rows, which are lanes: four chains, joined (0 + 1) + (2
/// + 3), so that additions overlap.
struct TileSums {
  Vec chains[4][kTileVectors];

  HWY_INLINE TileSums() {
    for (auto& chain : chains) {
      for (Vec& sum : chain) sum = hn::Zero(kF32);
    }
  }
  HWY_INLINE Vec total(std::size_t j) const {
    return hn::Add(hn::Add(chains[0][j], chains[1][j]), hn::Add(chains[2][j], chains[3][j]));
  }
};

/// step(i, chain) for each column.
template <class Step>
HWY_INLINE void for_columns(std::size_t n, const Step& step) {
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (std::size_t c = 0; c < 4; ++c) step(i + c, c);
  }
  for (std::size_t c = 0; i < n; ++i, ++c) step(i, c);
}

/// One token of a tile: S <- decay S; u = rate (v - S k); S <- S + u k^T; y = S q.
HWY_INLINE void delta_step(float* tile, std::size_t columns, const float* q, const float* k,
                           float decay, float rate, const float* v, float* y) {
  const Vec kept = set(decay);
  TileSums seen;
  for_columns(columns, [&](std::size_t i, std::size_t c) {
    for (std::size_t j = 0; j < kTileVectors; ++j) {
      const Vec s = hn::Mul(load(tile + i * kTileRows + j * kLanes), kept);
      seen.chains[c][j] = hn::MulAdd(s, set(k[i]), seen.chains[c][j]);
    }
  });
  Vec change[kTileVectors];
  for (std::size_t j = 0; j < kTileVectors; ++j) {
    change[j] = hn::Mul(hn::Sub(load(v + j * kLanes), seen.total(j)), set(rate));
  }
  TileSums read;
  for_columns(columns, [&](std::size_t i, std::size_t c) {
    for (std::size_t j = 0; j < kTileVectors; ++j) {
      float* at = tile + i * kTileRows + j * kLanes;
      const Vec s = hn::MulAdd(set(k[i]), change[j], hn::Mul(load(at), kept));
      store(s, at);
      read.chains[c][j] = hn::MulAdd(s, set(q[i]), read.chains[c][j]);
    }
  });
  for (std::size_t j = 0; j < kTileVectors; ++j) store(read.total(j), y + j * kLanes);
}

/// A tile over up to kDeltaRows rows, so that it stays in the nearest cache meanwhile.
template <class E>
HWY_INLINE void delta_tile(const DeltaShape& shape, const DeltaTask& task, std::size_t tile,
                           std::size_t first, std::size_t last, const float* scratch) {
  const std::size_t begin = tile * kTileRows;
  const std::size_t left = shape.value_dim - begin;
  const std::size_t lanes = left < kTileRows ? left : kTileRows;
  const std::size_t value =
      2 * shape.key_heads * shape.key_dim + task.head * shape.value_dim + begin;
  float* matrix = task.matrix + tile * shape.key_dim * kTileRows;
  for (std::size_t row = first; row < last; ++row) {
    const E* v = static_cast<const E*>(task.qkv) + row * shape.row + value;
    E* out = static_cast<E*>(task.out) + (row * shape.heads + task.head) * shape.value_dim + begin;
    float values[kTileRows] = {};
    float results[kTileRows];
    for_vectors(lanes,
                [&](std::size_t i, auto part) { store(load(v + i, part), values + i, part); });
    const float* q = scratch + 2 * (row - first) * shape.key_dim;
    const std::size_t gate = row * shape.heads + task.head;
    delta_step(matrix, shape.key_dim, q, q + shape.key_dim, task.decay[gate], task.rate[gate],
               values, results);
    for_vectors(lanes,
                [&](std::size_t i, auto part) { store(load(results + i, part), out + i, part); });
  }
}

template <class E>
void delta(const DeltaShape& shape, const DeltaTask& task, float* scratch) {
  const std::size_t key_head = task.head * shape.key_heads / shape.heads;
  const std::size_t tiles = (shape.value_dim + kTileRows - 1) / kTileRows;
  const float scale = 1.0f / hn::GetLane(hn::Sqrt(set(static_cast<float>(shape.key_dim))));
  for (std::size_t first = 0; first < task.rows; first += kDeltaRows) {
    const std::size_t left = task.rows - first;
    const std::size_t last = first + (left < kDeltaRows ? left : kDeltaRows);
    for (std::size_t row = first; row < last; ++row) {
      const E* q = static_cast<const E*>(task.qkv) + row * shape.row + key_head * shape.key_dim;
      float* to = scratch + 2 * (row - first) * shape.key_dim;
      to_length(q, shape.key_dim, scale, to);
      to_length(q + shape.key_heads * shape.key_dim, shape.key_dim, 1.0f, to + shape.key_dim);
    }
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      delta_tile<E>(shape, task, tile, first, last, scratch);
    }
  }
}

template <class E>
constexpr RecurrentLoops recurrent_loops() {
  return {conv<E>, delta_gates<E>, delta<E>};
}

}  // namespace tandem::kernels::HWY_NAMESPACE
