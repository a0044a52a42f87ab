#pragma once
// Four rows of a tile in plain C++. Multiplies and adds round separately.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

struct Lanes {
  static constexpr int kLanes = 4;
  static constexpr int kMaxRows = 4;
  static constexpr int kRowTiles = 1;
  static constexpr int kOneRowTiles = 1;
  static constexpr bool kPairs = false;
  static constexpr bool kSignedBytes = false;
  struct Float {
    float v[kLanes];
  };
  struct Int {
    std::int32_t v[kLanes];
  };
  struct Bytes {
    std::uint32_t v[kLanes];
  };

  static Float zero() { return {}; }
  static Float broadcast(float x) { return {{x, x, x, x}}; }
  static Float load(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
  static Float load_bf16(const std::uint16_t* p) {
    return {{float_of_bf16(p[0]), float_of_bf16(p[1]), float_of_bf16(p[2]), float_of_bf16(p[3])}};
  }
  static Float load_f16(const std::uint16_t* p) {
    return {{float_of_f16(p[0]), float_of_f16(p[1]), float_of_f16(p[2]), float_of_f16(p[3])}};
  }
  static void store(float* p, Float x) { std::memcpy(p, x.v, sizeof(x.v)); }
  static Float add(Float a, Float b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] += b.v[i];
    return a;
  }
  static Float mul(Float a, Float b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] *= b.v[i];
    return a;
  }
  static Float fma(Float a, Float b, Float c) { return add(mul(a, b), c); }
  static Float to_float(Int x) {
    Float f;
    for (int i = 0; i < kLanes; ++i) f.v[i] = static_cast<float>(x.v[i]);
    return f;
  }

  static Int max_magnitude(Int a, Float x) {
    for (int i = 0; i < kLanes; ++i) {
      const auto magnitude = static_cast<std::int32_t>(bits_of_float(x.v[i]) & 0x7FFFFFFFU);
      if (magnitude > a.v[i]) a.v[i] = magnitude;
    }
    return a;
  }
  static std::int32_t int_max(Int x) {
    std::int32_t most = x.v[0];
    for (int i = 1; i < kLanes; ++i) most = x.v[i] > most ? x.v[i] : most;
    return most;
  }
  /// |x| under 2^22: the low bits of x + 1.5 * 2^23 are the nearest integer, ties to even.
  static Int round(Float x) {
    Int n;
    for (int i = 0; i < kLanes; ++i) {
      n.v[i] = static_cast<std::int32_t>(bits_of_float(x.v[i] + 12582912.0F) - 0x4B400000U);
    }
    return n;
  }
  static void store_int8(std::int8_t* p, Int x) {
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(x.v[i]);
  }
  static Int int_zero() { return {}; }
  static Int int_broadcast(std::int32_t x) { return {{x, x, x, x}}; }
  static Int int_add(Int a, Int b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] += b.v[i];
    return a;
  }
  static std::int32_t int_sum(Int x) { return x.v[0] + x.v[1] + x.v[2] + x.v[3]; }

  static Bytes load_bytes(const std::byte* p) {
    Bytes x;
    std::memcpy(x.v, p, sizeof(x.v));
    return x;
  }
  static Bytes mask(Bytes x, int bits) {
    for (std::uint32_t& lane : x.v) lane &= static_cast<std::uint32_t>(bits) * 0x01010101U;
    return x;
  }
  static Bytes join(Bytes a, Bytes b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] |= b.v[i];
    return a;
  }
  template <int N>
  static Bytes shift(Bytes x) {
    for (std::uint32_t& lane : x.v) lane = N >= 0 ? lane >> (N & 31) : lane << (-N & 31);
    return x;
  }
  template <int C>
  static Int byte_of(Bytes x) {
    Int n;
    for (int i = 0; i < kLanes; ++i) n.v[i] = static_cast<std::int32_t>(x.v[i] >> (8 * C) & 0xFFU);
    return n;
  }

  template <int Bits>
  static Int dot(Int sum, const Bytes (&q)[8], const std::int8_t* a) {
    for (int j = 0; j < 8; ++j) {
      for (int i = 0; i < kLanes; ++i) {
        const std::uint32_t w = q[j].v[i];
        sum.v[i] += static_cast<std::int32_t>(w & 0xFFU) * a[4 * j] +
                    static_cast<std::int32_t>(w >> 8 & 0xFFU) * a[4 * j + 1] +
                    static_cast<std::int32_t>(w >> 16 & 0xFFU) * a[4 * j + 2] +
                    static_cast<std::int32_t>(w >> 24) * a[4 * j + 3];
      }
    }
    return sum;
  }
  static void prefetch(const std::byte*) {}
};

}  // namespace
}  // namespace tandem::kernels
