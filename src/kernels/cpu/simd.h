#pragma once
// Vectors of float32 for loops that are compiled once per instruction set: this header and the
// *_loops.h that use it are included by the .cc files of this folder only.
// Everything lives in a namespace of the target, so nothing is shared between instruction sets.

#if !defined(HWY_COMPILE_ONLY_EMU128) && !defined(HWY_COMPILE_ONLY_STATIC)
#define HWY_COMPILE_ONLY_STATIC
#endif
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own AVX-512 intrinsics (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/bf16.h"

namespace tandem::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using U32 = hn::RebindToUnsigned<F32>;
using U16 = hn::Rebind<std::uint16_t, F32>;
using Vec = hn::Vec<F32>;

inline constexpr F32 kF32;
inline constexpr std::size_t kLanes = hn::MaxLanes(F32());

/// How many lanes of a vector are in memory.
struct Full {
  static constexpr std::size_t count = kLanes;
};
struct Part {
  std::size_t count;
};

HWY_INLINE Vec set(float x) { return hn::Set(kF32, x); }

HWY_INLINE Vec load(const float* p, Full = {}) { return hn::LoadU(kF32, p); }

HWY_INLINE Vec load(const Bf16* p, Full = {}) {
  const auto half = hn::LoadU(U16(), reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(kF32, hn::ShiftLeft<16>(hn::PromoteTo(U32(), half)));
}

HWY_INLINE Vec load(const std::int8_t* p, Full = {}) {
  const hn::Rebind<std::int32_t, F32> i32;
  return hn::ConvertTo(kF32, hn::PromoteTo(i32, hn::LoadU(hn::Rebind<std::int8_t, F32>(), p)));
}

HWY_INLINE void store(Vec v, float* p, Full = {}) { hn::StoreU(v, kF32, p); }

/// Rounds to nearest, ties to even; a NaN stays a NaN.
HWY_INLINE void store(Vec v, Bf16* p, Full = {}) {
  const U32 u32;
  const auto bits = hn::BitCast(u32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u32, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(u32, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(u32, 0x400000u));
  const auto nan = hn::RebindMask(u32, hn::IsNaN(v));
  const auto top = hn::ShiftRight<16>(hn::IfThenElse(nan, quiet, rounded));
  hn::StoreU(hn::TruncateTo(U16(), top), U16(), reinterpret_cast<std::uint16_t*>(p));
}

/// Lanes that are not in memory read as zero.
template <class E>
HWY_INLINE Vec load(const E* p, Part part) {
  E lanes[kLanes] = {};
  std::memcpy(lanes, p, part.count * sizeof(E));
  return load(lanes);
}

template <class E>
HWY_INLINE void store(Vec v, E* p, Part part) {
  E lanes[kLanes];
  store(v, lanes);
  std::memcpy(p, lanes, part.count * sizeof(E));
}

/// step(i, Full or Part) for each vector of [0, n).
template <class Step>
HWY_INLINE void for_vectors(std::size_t n, const Step& step) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) step(i, Full{});
  if (i < n) step(i, Part{n - i});
}

/// Sums and maxima over the lanes, in an order that only the instruction set decides.
HWY_INLINE float sum_lanes(Vec v) { return hn::GetLane(hn::SumOfLanes(kF32, v)); }
HWY_INLINE float max_lanes(Vec v) { return hn::GetLane(hn::MaxOfLanes(kF32, v)); }

/// e^x for x <= 0, within 2 ulp; 0 below -87.3; exactly 1 at 0. The coefficients are a fit of
/// (e^r - 1 - r) / r^2 over |r| <= ln 2 / 2 (relative error of e^r 1.1e-8).
HWY_INLINE Vec exp_nonpositive(Vec x) {
  const Vec magic = set(12582912.0f);  // 1.5 * 2^23: the sum's low bits are the nearest integer
  const Vec shifted = hn::MulAdd(x, set(1.44269504f), magic);
  const Vec n = hn::Sub(shifted, magic);
  Vec r = hn::NegMulAdd(n, set(0.693145752f), x);  // ln 2 in two parts
  r = hn::NegMulAdd(n, set(1.42860677e-6f), r);
  Vec p = set(0.00139336521f);
  p = hn::MulAdd(p, r, set(0.00836318173f));
  p = hn::MulAdd(p, r, set(0.0416664667f));
  p = hn::MulAdd(p, r, set(0.166665763f));
  p = hn::MulAdd(p, r, set(0.5f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), set(1.0f));
  const U32 u32;
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(u32, shifted));
  const Vec scaled = hn::BitCast(kF32, hn::Add(hn::BitCast(u32, p), exponent));
  return hn::IfThenZeroElse(hn::Lt(x, set(-87.3f)), scaled);
}

}  // namespace tandem::kernels::HWY_NAMESPACE
