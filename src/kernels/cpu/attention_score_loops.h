#pragma once
// The two products of attention over one page. A score and an output element are each one chain of
// multiply-adds in a fixed order, so tiles of any shape give the same bits.

#include <hwy/cache_control.h>

#include <type_traits>

#include "kernels/cpu/simd.h"
#include "kernels/kv_spec.h"

namespace tandem::kernels::HWY_NAMESPACE {

inline constexpr std::size_t kPage = kPageTokens;
inline constexpr std::size_t kCacheLine = 64;
/// Rows and vectors of a tile: 16 accumulators, or 8 where there are 16 registers.
inline constexpr std::size_t kTileRows = 4;
inline constexpr std::size_t kTileVectors = kLanes == 8 ? 2 : 4;
inline constexpr std::size_t kDotRows = kLanes == 8 ? 2 : 4;
inline constexpr std::size_t kDotTokens = 4;
inline constexpr std::size_t kGroup = kInt8Group;

/// Whether elements are integers with a scale for each kGroup of a token, kPage apart.
template <class E>
inline constexpr bool kScaled = std::is_same_v<E, std::int8_t>;

/// Asks for the cache lines of `count` elements at p.
template <class E>
HWY_INLINE void prefetch(const E* p, std::size_t count) {
  for (std::size_t i = 0; i < count; i += kCacheLine / sizeof(E)) hwy::Prefetch(p + i);
}

/// sums[r][j] = q[r] . elements [0, count) of keys, transposed.
template <std::size_t kRows, std::size_t kVectors, class E>
HWY_INLINE void score_part(const float* q, std::size_t q_stride, const E* keys, std::size_t count,
                           const E* ahead, Vec (&sums)[kRows][kVectors]) {
  for (auto& row : sums) {
    for (Vec& sum : row) sum = set(0);
  }
  for (std::size_t d = 0; d < count; ++d) {
    Vec k[kVectors];
    if (ahead != nullptr) prefetch(ahead + d * kPage, kVectors * kLanes);
    for (std::size_t j = 0; j < kVectors; ++j) k[j] = load(keys + d * kPage + j * kLanes);
    for (std::size_t r = 0; r < kRows; ++r) {
      const Vec x = set(q[r * q_stride + d]);
      for (std::size_t j = 0; j < kVectors; ++j) sums[r][j] = hn::MulAdd(x, k[j], sums[r][j]);
    }
  }
}

/// scores[r][0 .. kVectors * kLanes) = q[r] . key; integers are summed group by group.
template <std::size_t kRows, std::size_t kVectors, class E>
HWY_INLINE void score_tile(const float* q, std::size_t q_stride, const E* keys, std::size_t key_dim,
                           const float* scales, float* scores, const E* ahead) {
  Vec sums[kRows][kVectors];
  const std::size_t step = kScaled<E> ? kGroup : key_dim;
  for (std::size_t d = 0; d < key_dim; d += step) {
    const std::size_t count = d + step < key_dim ? step : key_dim - d;
    score_part<kRows, kVectors>(q + d, q_stride, keys + d * kPage, count,
                                ahead == nullptr ? nullptr : ahead + d * kPage, sums);
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t j = 0; j < kVectors; ++j) {
        float* score = scores + r * kPage + j * kLanes;
        if constexpr (kScaled<E>) {
          const Vec scale = load(scales + d / kGroup * kPage + j * kLanes);
          const Vec before = d == 0 ? set(0) : load(score);
          sums[r][j] = hn::MulAdd(sums[r][j], scale, before);
        }
        store(sums[r][j], score);
      }
    }
  }
}

/// The same for the first `tokens` of a page (a few more are computed). Asks for the keys at
/// `ahead` on the way, unless it is null.
template <std::size_t kRows, class E>
void score_transposed(const float* q, std::size_t q_stride, const E* keys, std::size_t key_dim,
                      const float* scales, std::size_t tokens, float* scores, const E* ahead) {
  const auto next = [&](std::size_t t) { return ahead == nullptr ? nullptr : ahead + t; };
  std::size_t t = 0;
  for (; t + (kTileVectors - 1) * kLanes < tokens; t += kTileVectors * kLanes) {
    score_tile<kRows, kTileVectors>(q, q_stride, keys + t, key_dim, scales + t, scores + t,
                                    next(t));
  }
  for (; t < tokens; t += kLanes) {
    score_tile<kRows, 1>(q, q_stride, keys + t, key_dim, scales + t, scores + t, next(t));
  }
}

struct Sum {
  HWY_INLINE Vec operator()(Vec a, Vec b) const { return hn::Add(a, b); }
};
struct Maximum {
  HWY_INLINE Vec operator()(Vec a, Vec b) const { return hn::Max(a, b); }
};

/// out[i] = the lanes of v[i] folded together, always as a tree of neighbouring lanes.
template <class Fold, std::size_t kCount>
HWY_INLINE void fold_lanes(Vec (&v)[kCount], float* out) {
#if HWY_TARGET == HWY_SCALAR
  for (std::size_t i = 0; i < kCount; ++i) out[i] = hn::GetLane(v[i]);
#else
  constexpr std::size_t kStep = kCount < kLanes ? kCount : kLanes;
  static_assert(kCount % kStep == 0);
  for (std::size_t first = 0; first < kCount; first += kStep) {
    Vec* part = v + first;
    std::size_t count = kStep;
    for (std::size_t lanes = kLanes; lanes > 1; lanes /= 2) {
      const std::size_t next = count > 1 ? count / 2 : 1;
      for (std::size_t i = 0; i < next; ++i) {
        const Vec low = part[count > 1 ? 2 * i : 0];
        const Vec high = part[count > 1 ? 2 * i + 1 : 0];
        part[i] = Fold()(hn::ConcatEven(kF32, high, low), hn::ConcatOdd(kF32, high, low));
      }
      count = next;
    }
    float lanes[kLanes];
    store(part[0], lanes);
    std::memcpy(out + first, lanes, kStep * sizeof(float));
  }
#endif
}

/// The same with keys in rows of key_stride elements; q is padded with zeros to key_stride.
template <std::size_t kRows, class E>
void score_rows(const float* q, const E* keys, std::size_t key_stride, const float* scales,
                std::size_t tokens, float* scores) {
  for (std::size_t t = 0; t < tokens; t += kDotTokens) {
    Vec sums[kRows * kDotTokens];
    for (Vec& sum : sums) sum = set(0);
    for (std::size_t d = 0; d < key_stride; d += kLanes) {
      Vec k[kDotTokens];
      for (std::size_t j = 0; j < kDotTokens; ++j) {
        k[j] = load(keys + (t + j) * key_stride + d);
        if constexpr (kScaled<E>) {
          k[j] = hn::Mul(k[j], set(scales[d / kGroup * kPage + t + j]));
        }
      }
      for (std::size_t r = 0; r < kRows; ++r) {
        const Vec x = load(q + r * key_stride + d);
        for (std::size_t j = 0; j < kDotTokens; ++j) {
          sums[r * kDotTokens + j] = hn::MulAdd(x, k[j], sums[r * kDotTokens + j]);
        }
      }
    }
    float out[kRows * kDotTokens];
    fold_lanes<Sum>(sums, out);
    for (std::size_t r = 0; r < kRows; ++r) {
      std::memcpy(scores + r * kPage + t, out + r * kDotTokens, kDotTokens * sizeof(float));
    }
  }
}

/// out[r][d .. d + kVectors * kLanes) += weights[r][t] * values[t] for t in [first, last). Asks for
/// the values at `ahead` on the way, unless it is null.
template <std::size_t kRows, std::size_t kVectors, class E>
HWY_INLINE void add_values_tile(const float* weights, const E* values, std::size_t stride,
                                std::size_t first, std::size_t last, float* out,
                                std::size_t out_stride, const E* ahead) {
  Vec sums[kRows][kVectors];
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t j = 0; j < kVectors; ++j) {
      sums[r][j] = load(out + r * out_stride + j * kLanes);
    }
  }
  for (std::size_t t = first; t < last; ++t) {
    Vec v[kVectors];
    if (ahead != nullptr) prefetch(ahead + t * stride, kVectors * kLanes);
    for (std::size_t j = 0; j < kVectors; ++j) v[j] = load(values + t * stride + j * kLanes);
    for (std::size_t r = 0; r < kRows; ++r) {
      const Vec w = set(weights[r * kPage + t]);
      for (std::size_t j = 0; j < kVectors; ++j) sums[r][j] = hn::MulAdd(w, v[j], sums[r][j]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t j = 0; j < kVectors; ++j) {
      store(sums[r][j], out + r * out_stride + j * kLanes);
    }
  }
}

/// The same over all of `dim` (rounded up to whole vectors), which has one scale or none.
template <std::size_t kRows, class E>
void add_value_group(const float* weights, const E* values, std::size_t stride, std::size_t dim,
                     std::size_t first, std::size_t last, float* out, std::size_t out_stride,
                     const E* ahead) {
  std::size_t d = 0;
  for (; d + kTileVectors * kLanes <= dim; d += kTileVectors * kLanes) {
    add_values_tile<kRows, kTileVectors>(weights, values + d, stride, first, last, out + d,
                                         out_stride, ahead == nullptr ? nullptr : ahead + d);
  }
  for (; d < dim; d += kLanes) {
    add_values_tile<kRows, 1>(weights, values + d, stride, first, last, out + d, out_stride,
                              ahead == nullptr ? nullptr : ahead + d);
  }
}

/// The same over all of a value. Scales go into the weights, group by group.
template <std::size_t kRows, class E>
void add_values(const float* weights, const E* values, std::size_t stride, std::size_t dim,
                const float* scales, std::size_t first, std::size_t last, float* out,
                std::size_t out_stride, const E* ahead = nullptr) {
  if (first >= last) return;
  if constexpr (!kScaled<E>) {
    add_value_group<kRows>(weights, values, stride, dim, first, last, out, out_stride, ahead);
  } else {
    float scaled[kRows * kPage];
    for (std::size_t d = 0; d < dim; d += kGroup, scales += kPage) {
      for (std::size_t t = first / kLanes * kLanes; t < last; t += kLanes) {
        const Vec scale = load(scales + t);
        for (std::size_t r = 0; r < kRows; ++r) {
          store(hn::Mul(load(weights + r * kPage + t), scale), scaled + r * kPage + t);
        }
      }
      const std::size_t width = d + kGroup < dim ? kGroup : dim - d;
      add_value_group<kRows>(scaled, values + d, stride, width, first, last, out + d, out_stride,
                             ahead == nullptr ? nullptr : ahead + d);
    }
  }
}

}  // namespace tandem::kernels::HWY_NAMESPACE
