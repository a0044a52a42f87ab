#pragma once
// Values for checks of loops: random numbers, typed buffers at any alignment, and tolerances. Free
// of MLX and of the test framework, so that the same checks run on an emulated CPU.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/bf16.h"

namespace tandem::kernels {

using Rng = std::mt19937;

inline std::vector<float> random_values(Rng& rng, std::size_t n, float size = 1) {
  std::normal_distribution<float> normal(0, size);
  std::vector<float> values(n);
  for (float& value : values) value = normal(rng);
  return values;
}

inline float to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}
inline float rounded(float x, DType element) { return element == DType::kBF16 ? to_bf16(x) : x; }
inline std::vector<float> rounded(std::vector<float> values, DType element) {
  for (float& value : values) value = rounded(value, element);
  return values;
}

/// Elements that start `shift` elements after an aligned address, with guards around them.
class Buffer {
 public:
  Buffer(DType element, std::size_t n, std::size_t shift)
      : element_(element),
        item_(element == DType::kBF16 ? 2 : 4),
        n_(n),
        bytes_(64 + 64 + (n + shift) * item_ + 64, std::byte{0x5a}) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes_.data());
    start_ = (64 - address % 64) + 64 + shift * item_ - 64;
  }
  Buffer(DType element, const std::vector<float>& values, std::size_t shift)
      : Buffer(element, values.size(), shift) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(rounded(values[i], element));
      const std::uint32_t stored = element == DType::kBF16 ? bits >> 16 : bits;
      std::memcpy(data() + i * item_, &stored, item_);
    }
  }

  std::byte* data() { return bytes_.data() + start_; }
  const std::byte* data() const { return bytes_.data() + start_; }
  std::size_t size() const { return n_; }

  float operator[](std::size_t i) const {
    std::uint32_t bits = 0;
    std::memcpy(&bits, data() + i * item_, item_);
    return std::bit_cast<float>(element_ == DType::kBF16 ? bits << 16 : bits);
  }
  /// Whether nothing was written next to the elements.
  bool guards_hold() const {
    const auto untouched = [](std::byte b) { return b == std::byte{0x5a}; };
    return std::all_of(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(start_),
                       untouched) &&
           std::all_of(bytes_.begin() + static_cast<std::ptrdiff_t>(start_ + n_ * item_),
                       bytes_.end(), untouched);
  }

 private:
  DType element_;
  std::size_t item_;
  std::size_t n_;
  std::vector<std::byte> bytes_;
  std::size_t start_ = 0;
};

/// How far `got` is from `want`, in units of what is allowed: `relative`, `absolute`, and half a
/// unit in the last place of a bfloat16. At most 1 passes; NaN does not.
inline double distance(float got, double want, DType element, double relative, double absolute) {
  const double rounding = element == DType::kBF16 ? std::ldexp(std::abs(want), -8) : 0;
  const double off = std::abs(static_cast<double>(got) - want);
  const double allowed = relative * std::abs(want) + absolute + rounding;
  if (std::isnan(off)) return 1e9;
  return off == 0 ? 0 : off / std::max(allowed, 1e-300);
}

}  // namespace tandem::kernels
