#pragma once
// One vector of AVX-512: 16 rows of a tile.

// GCC 12 takes the undefined registers of its own intrinsics for ours (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tandem::kernels {
namespace {

struct Lanes {
  static constexpr int kLanes = 16;
  static constexpr int kMaxRows = 8;      // rows of x a pass; registers set the limit
  static constexpr int kRowTiles = 2;     // tiles a pass of the float loop over many rows
  static constexpr int kOneRowTiles = 4;  // the same for one row
  static constexpr bool kPairs = true;    // registers for product_pairs.h
  static constexpr bool kSignedBytes = false;
  using Float = __m512;
  using Int = __m512i;
  using Bytes = __m512i;

  static Float zero() { return _mm512_setzero_ps(); }
  static Float broadcast(float x) { return _mm512_set1_ps(x); }
  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  static Float load_bf16(const std::uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  static Float load_f16(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store(float* p, Float x) { _mm512_storeu_ps(p, x); }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float to_float(Int x) { return _mm512_cvtepi32_ps(x); }

  /// The larger magnitude as bits, which order as magnitudes do, a NaN above infinity.
  static Int max_magnitude(Int a, Float x) {
    return _mm512_max_epi32(a, _mm512_castps_si512(_mm512_abs_ps(x)));
  }
  static std::int32_t int_max(Int x) { return _mm512_reduce_max_epi32(x); }
  /// Nearest integers, ties to even.
  static Int round(Float x) { return _mm512_cvtps_epi32(x); }
  static void store_int8(std::int8_t* p, Int x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(x));
  }
  static Int int_zero() { return _mm512_setzero_si512(); }
  static Int int_broadcast(std::int32_t x) { return _mm512_set1_epi32(x); }
  static Int int_add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static std::int32_t int_sum(Int x) { return _mm512_reduce_add_epi32(x); }

  static Bytes load_bytes(const std::byte* p) { return _mm512_loadu_si512(p); }
  static Bytes mask(Bytes x, int bits) {
    return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(bits)));
  }
  static Bytes join(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
  /// Shifts right (left when negative); bits that come from the next byte are masked off after.
  template <int N>
  static Bytes shift(Bytes x) {
    if constexpr (N > 0) return _mm512_srli_epi16(x, N);
    if constexpr (N < 0) return _mm512_slli_epi16(x, -N);
    return x;
  }
  /// Byte C of each lane.
  template <int C>
  static Int byte_of(Bytes x) {
    if constexpr (C == 3) return _mm512_srli_epi32(x, 24);
    return _mm512_and_si512(_mm512_srli_epi32(x, 8 * C), _mm512_set1_epi32(0xFF));
  }

  /// sum + the dot products of 32 columns: q[j] holds columns 4j to 4j + 3.
  template <int Bits>
  static Int dot(Int sum, const Bytes (&q)[8], const std::int8_t* a) {
    for (int j = 0; j < 8; ++j) {
      sum = dot_four(sum, q[j], four(a + 4 * j));
    }
    return sum;
  }
  /// Four columns of a row of x in every lane, and their products with four of w.
  static Bytes four(const std::int8_t* a) {
    std::int32_t columns;
    std::memcpy(&columns, a, sizeof(columns));
    return _mm512_set1_epi32(columns);
  }
  static Int dot_four(Int sum, Bytes q, Bytes a) { return _mm512_dpbusd_epi32(sum, q, a); }

  static void prefetch(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
};

}  // namespace
}  // namespace tandem::kernels
