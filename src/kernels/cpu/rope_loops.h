#pragma once
// Rotary embedding of one head, and its angles.

#include "kernels/cpu/simd.h"

namespace tandem::kernels::HWY_NAMESPACE {

using F64 = hn::Repartition<double, F32>;
using Vec64 = hn::Vec<F64>;
inline constexpr F64 kF64;
inline constexpr std::size_t kDoubles = hn::MaxLanes(F64());

struct CosSin {
  Vec64 cos;
  Vec64 sin;
};

/// For |x| up to 2^31, absolute error under 1e-6; under 1e-10 up to 2^20. Quarter turns are removed
/// in two parts of pi / 2 (33 bits, and the rest), then Taylor up to r^12.
HWY_INLINE CosSin cos_sin(Vec64 x) {
  const auto c = [](double value) { return hn::Set(kF64, value); };
  const Vec64 magic = c(6755399441055744.0);  // 1.5 * 2^52
  const Vec64 shifted = hn::Add(hn::Mul(x, c(0.63661977236758134)), magic);
  const Vec64 n = hn::Sub(shifted, magic);
  Vec64 r = hn::Sub(x, hn::Mul(n, c(1.57079632673412561417e+00)));
  r = hn::Sub(r, hn::Mul(n, c(6.07710050650619224932e-11)));
  const Vec64 r2 = hn::Mul(r, r);
  Vec64 s = hn::MulAdd(r2, c(-1.0 / 39916800), c(1.0 / 362880));
  s = hn::MulAdd(s, r2, c(-1.0 / 5040));
  s = hn::MulAdd(s, r2, c(1.0 / 120));
  s = hn::MulAdd(s, r2, c(-1.0 / 6));
  s = hn::MulAdd(hn::Mul(s, r2), r, r);
  Vec64 k = hn::MulAdd(r2, c(1.0 / 479001600), c(-1.0 / 3628800));
  k = hn::MulAdd(k, r2, c(1.0 / 40320));
  k = hn::MulAdd(k, r2, c(-1.0 / 720));
  k = hn::MulAdd(k, r2, c(1.0 / 24));
  k = hn::MulAdd(k, r2, c(-0.5));
  k = hn::MulAdd(k, r2, c(1.0));
  const hn::RebindToUnsigned<F64> u64;
  const auto quadrant = hn::BitCast(u64, shifted);
  const auto one = hn::Set(u64, 1u);
  const auto two = hn::Set(u64, 2u);
  const auto swap = hn::RebindMask(kF64, hn::TestBit(quadrant, one));
  const auto sin_sign = hn::ShiftLeft<62>(hn::And(quadrant, two));
  const auto cos_sign = hn::ShiftLeft<62>(hn::And(hn::Add(quadrant, one), two));
  return {hn::Xor(hn::IfThenElse(swap, s, k), hn::BitCast(kF64, cos_sign)),
          hn::Xor(hn::IfThenElse(swap, k, s), hn::BitCast(kF64, sin_sign))};
}

inline void rope_angles(const float* frequency, std::size_t half, float position, float magnitude,
                        float* cos, float* sin) {
  const hn::Rebind<float, F64> f32;
  const auto turn = hn::Set(f32, position);
  const auto size = hn::Set(f32, magnitude);
  for (std::size_t i = 0; i < half; i += kDoubles) {
    const std::size_t count = half - i < kDoubles ? half - i : kDoubles;
    float lanes[kDoubles] = {};
    std::memcpy(lanes, frequency + i, count * sizeof(float));
    const auto angle = hn::Mul(turn, hn::LoadU(f32, lanes));
    const CosSin value = cos_sin(hn::PromoteTo(kF64, angle));
    hn::StoreU(hn::Mul(hn::DemoteTo(f32, value.cos), size), f32, lanes);
    std::memcpy(cos + i, lanes, count * sizeof(float));
    hn::StoreU(hn::Mul(hn::DemoteTo(f32, value.sin), size), f32, lanes);
    std::memcpy(sin + i, lanes, count * sizeof(float));
  }
}

/// {a, b} turned by the angle.
struct Pair {
  Vec a;
  Vec b;
};
HWY_INLINE Pair rotate(Vec a, Vec b, Vec cos, Vec sin) {
  return {hn::NegMulAdd(b, sin, hn::Mul(a, cos)), hn::MulAdd(a, sin, hn::Mul(b, cos))};
}

template <class E>
HWY_INLINE void rope_interleaved(const E* x, E* out, std::size_t half, const float* cos,
                                 const float* sin) {
  for (std::size_t i = 0; i < half; i += kLanes) {
    const Part part{half - i < kLanes ? half - i : kLanes};
    E in[2 * kLanes] = {};
    std::memcpy(in, x + 2 * i, 2 * part.count * sizeof(E));
    float wide[2 * kLanes];
    store(load(in), wide);
    store(load(in + kLanes), wide + kLanes);
    Vec a, b;
    hn::LoadInterleaved2(kF32, wide, a, b);
    const Pair turned = rotate(a, b, load(cos + i, part), load(sin + i, part));
    hn::StoreInterleaved2(turned.a, turned.b, kF32, wide);
    store(load(wide), in);
    store(load(wide + kLanes), in + kLanes);
    std::memcpy(out + 2 * i, in, 2 * part.count * sizeof(E));
  }
}

template <class E>
void rope_row(const void* x, void* out, std::size_t half, bool interleaved, const float* cos,
              const float* sin) {
  const auto* in = static_cast<const E*>(x);
  auto* to = static_cast<E*>(out);
  if (interleaved) return rope_interleaved(in, to, half, cos, sin);
  for_vectors(half, [&](std::size_t i, auto part) {
    const Pair turned = rotate(load(in + i, part), load(in + half + i, part), load(cos + i, part),
                               load(sin + i, part));
    store(turned.a, to + i, part);
    store(turned.b, to + half + i, part);
  });
}

}  // namespace tandem::kernels::HWY_NAMESPACE
