#pragma once
// One vector of NEON: 4 rows of a tile.

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tandem::kernels {
namespace {

struct Lanes {
  static constexpr int kLanes = 4;
  static constexpr int kMaxRows = 8;
  static constexpr int kRowTiles = 1;
  static constexpr int kOneRowTiles = 1;
  static constexpr bool kPairs = false;
  static constexpr bool kSignedBytes = true;  // 8-bit elements are stored to registers minus 128
  using Float = float32x4_t;
  using Int = int32x4_t;
  using Bytes = uint8x16_t;

  static Float zero() { return vdupq_n_f32(0); }
  static Float broadcast(float x) { return vdupq_n_f32(x); }
  static Float load(const float* p) { return vld1q_f32(p); }
  static Float load_bf16(const std::uint16_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
  }
  static Float load_f16(const std::uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
  }
  static void store(float* p, Float x) { vst1q_f32(p, x); }
  static Float add(Float a, Float b) { return vaddq_f32(a, b); }
  static Float mul(Float a, Float b) { return vmulq_f32(a, b); }
  static Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  static Float to_float(Int x) { return vcvtq_f32_s32(x); }

  static Int max_magnitude(Int a, Float x) {
    return vmaxq_s32(a, vreinterpretq_s32_f32(vabsq_f32(x)));
  }
  static std::int32_t int_max(Int x) { return vmaxvq_s32(x); }
  static Int round(Float x) { return vcvtnq_s32_f32(x); }
  static void store_int8(std::int8_t* p, Int x) {
    const int16x4_t words = vqmovn_s32(x);
    const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
    std::memcpy(p, &bytes, 4);
  }
  static Int int_zero() { return vdupq_n_s32(0); }
  static Int int_broadcast(std::int32_t x) { return vdupq_n_s32(x); }
  static Int int_add(Int a, Int b) { return vaddq_s32(a, b); }
  static std::int32_t int_sum(Int x) { return vaddvq_s32(x); }

  static Bytes load_bytes(const std::byte* p) {
    return vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
  }
  static Bytes mask(Bytes x, int bits) {
    return vandq_u8(x, vdupq_n_u8(static_cast<std::uint8_t>(bits)));
  }
  static Bytes join(Bytes a, Bytes b) { return vorrq_u8(a, b); }
  template <int N>
  static Bytes shift(Bytes x) {
    if constexpr (N > 0) return vshrq_n_u8(x, N);
    if constexpr (N < 0) return vshlq_n_u8(x, -N);
    return x;
  }
  template <int C>
  static Int byte_of(Bytes x) {
    const uint32x4_t lanes = vreinterpretq_u32_u8(x);
    if constexpr (C == 0) return vreinterpretq_s32_u32(vandq_u32(lanes, vdupq_n_u32(0xFF)));
    if constexpr (C != 0) {
      const uint32x4_t moved = vshrq_n_u32(lanes, 8 * C);
      return vreinterpretq_s32_u32(vandq_u32(moved, vdupq_n_u32(0xFF)));
    }
  }
  static Bytes minus_128(Bytes x) { return veorq_u8(x, vdupq_n_u8(0x80)); }

  template <int Bits>
  static Int dot(Int sum, const Bytes (&q)[8], const std::int8_t* a) {
    for (int j = 0; j < 8; ++j) {
      std::int32_t four;
      std::memcpy(&four, a + 4 * j, sizeof(four));
      const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
      sum = dot_bytes(sum, vreinterpretq_s8_u8(q[j]), x);
    }
    return sum;
  }
  static void prefetch(const std::byte* p) { __builtin_prefetch(p); }

 private:
  static int32x4_t dot_bytes(int32x4_t sum, int8x16_t a, int8x16_t b) {
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sum, a, b);
#else
    // Pairs of products fit 16 bits but for (-128 * -128) * 2, and no activation is -128.
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    const int16x8_t high = vmull_high_s8(a, b);
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
#endif
  }
};

}  // namespace
}  // namespace tandem::kernels
