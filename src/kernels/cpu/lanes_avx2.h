#pragma once
// One vector of AVX2: 8 rows of a tile.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tandem::kernels {
namespace {

struct Lanes {
  static constexpr int kLanes = 8;
  static constexpr int kMaxRows = 4;
  static constexpr int kRowTiles = 1;
  static constexpr int kOneRowTiles = 2;
  static constexpr bool kPairs = false;
  static constexpr bool kSignedBytes = true;  // 8-bit elements are stored to registers minus 128
  using Float = __m256;
  using Int = __m256i;
  using Bytes = __m256i;

  static Float zero() { return _mm256_setzero_ps(); }
  static Float broadcast(float x) { return _mm256_set1_ps(x); }
  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  static Float load_bf16(const std::uint16_t* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
  static Float load_f16(const std::uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void store(float* p, Float x) { _mm256_storeu_ps(p, x); }
  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float to_float(Int x) { return _mm256_cvtepi32_ps(x); }

  static Int max_magnitude(Int a, Float x) {
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    return _mm256_max_epi32(a, _mm256_and_si256(_mm256_castps_si256(x), magnitude));
  }
  static std::int32_t int_max(Int x) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1)));
  }
  static Int round(Float x) { return _mm256_cvtps_epi32(x); }
  static void store_int8(std::int8_t* p, Int x) {
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }
  static Int int_zero() { return _mm256_setzero_si256(); }
  static Int int_broadcast(std::int32_t x) { return _mm256_set1_epi32(x); }
  static Int int_add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static std::int32_t int_sum(Int x) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
  }

  static Bytes load_bytes(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Bytes mask(Bytes x, int bits) {
    return _mm256_and_si256(x, _mm256_set1_epi8(static_cast<char>(bits)));
  }
  static Bytes join(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
  template <int N>
  static Bytes shift(Bytes x) {
    if constexpr (N > 0) return _mm256_srli_epi16(x, N);
    if constexpr (N < 0) return _mm256_slli_epi16(x, -N);
    return x;
  }
  template <int C>
  static Int byte_of(Bytes x) {
    if constexpr (C == 3) return _mm256_srli_epi32(x, 24);
    return _mm256_and_si256(_mm256_srli_epi32(x, 8 * C), _mm256_set1_epi32(0xFF));
  }
  static Bytes minus_128(Bytes x) { return _mm256_xor_si256(x, _mm256_set1_epi8(-128)); }

  /// maddubs adds two products in 16 bits that saturate: 2 * 127 * (2^Bits - 1) a product pair sets
  /// how many pairs fit. 8-bit elements are taken minus 128, as |w| and a with the sign of w.
  template <int Bits>
  static Int dot(Int sum, const Bytes (&q)[8], const std::int8_t* a) {
    constexpr int kPairs = Bits <= 4 ? 8 : Bits == 5 ? 4 : Bits == 6 ? 2 : 1;
    const __m256i ones = _mm256_set1_epi16(1);
    for (int j = 0; j < 8; j += kPairs) {
      __m256i pairs = _mm256_setzero_si256();
      for (int i = j; i < j + kPairs; ++i) {
        std::int32_t four;
        std::memcpy(&four, a + 4 * i, sizeof(four));
        const __m256i x = _mm256_set1_epi32(four);
        const __m256i two =
            Bits == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(q[i]), _mm256_sign_epi8(x, q[i]))
                      : _mm256_maddubs_epi16(q[i], x);
        pairs = _mm256_add_epi16(pairs, two);
      }
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    return sum;
  }
  static void prefetch(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
};

}  // namespace
}  // namespace tandem::kernels
