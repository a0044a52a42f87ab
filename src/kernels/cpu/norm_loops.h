#pragma once
// Root-mean-square normalisation of one row.

#include "kernels/cpu/activation_loops.h"
#include "kernels/cpu/simd.h"

namespace tandem::kernels::HWY_NAMESPACE {

/// The sum of squares: four vectors in turn, then what is left, then over the lanes.
template <class E>
HWY_INLINE float sum_of_squares(const E* x, std::size_t n) {
  Vec sums[4] = {set(0), set(0), set(0), set(0)};
  std::size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (std::size_t k = 0; k < 4; ++k) {
      const Vec v = load(x + i + k * kLanes);
      sums[k] = hn::MulAdd(v, v, sums[k]);
    }
  }
  for_vectors(n - i, [&](std::size_t j, auto part) {
    const Vec v = load(x + i + j, part);
    sums[0] = hn::MulAdd(v, v, sums[0]);
  });
  return sum_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

template <class E>
HWY_INLINE Vec inverse_rms(const E* row, std::size_t n, float epsilon) {
  const float mean = sum_of_squares(row, n) / static_cast<float>(n);
  return hn::Div(set(1.0f), hn::Sqrt(set(mean + epsilon)));
}

template <class E>
void rms_norm_row(const void* x, const float* weight, void* out, std::size_t n, float epsilon) {
  const auto* row = static_cast<const E*>(x);
  const Vec inverse = inverse_rms(row, n, epsilon);
  for_vectors(n, [&](std::size_t i, auto part) {
    store(hn::Mul(hn::Mul(load(row + i, part), inverse), load(weight + i, part)),
          static_cast<E*>(out) + i, part);
  });
}

template <class E>
void gated_rms_norm_row(const void* x, const void* gate, const float* weight, void* out,
                        std::size_t n, float epsilon) {
  const auto* row = static_cast<const E*>(x);
  const Vec inverse = inverse_rms(row, n, epsilon);
  for_vectors(n, [&](std::size_t i, auto part) {
    const Vec normed = hn::Mul(hn::Mul(load(row + i, part), inverse), load(weight + i, part));
    const Vec open = silu(load(static_cast<const E*>(gate) + i, part));
    store(hn::Mul(normed, open), static_cast<E*>(out) + i, part);
  });
}

}  // namespace tandem::kernels::HWY_NAMESPACE
