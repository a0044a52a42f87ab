#pragma once
// Scalar conversions between float types. Internal linkage: files of several instruction sets
// include this, and none may lend its code to another.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tandem/dtype.h"

namespace tandem::kernels {
namespace {

[[maybe_unused]] float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

[[maybe_unused]] std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

[[maybe_unused]] float float_of_bf16(std::uint16_t value) {
  return float_of_bits(static_cast<std::uint32_t>(value) << 16);
}

/// Round to nearest even; a NaN stays one.
[[maybe_unused]] std::uint16_t bf16_of_float(float value) {
  const std::uint32_t bits = bits_of_float(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

[[maybe_unused]] float float_of_f16(std::uint16_t value) {
  const std::uint32_t sign = static_cast<std::uint32_t>(value & 0x8000U) << 16;
  const std::uint32_t magnitude = value & 0x7FFFU;
  if (magnitude >= 0x7C00U) return float_of_bits(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13);
  if (magnitude >= 0x400U) return float_of_bits(sign | ((magnitude << 13) + 0x38000000U));
  // Zero and subnormals: magnitude * 2^-24, exact in float32.
  return float_of_bits(sign | bits_of_float(static_cast<float>(magnitude) * 0x1p-24F));
}

/// Element `index` of an array of `type` (kF32, kBF16 or kF16) at any address.
[[maybe_unused]] float stored_float(DType type, const std::byte* base, std::size_t index) {
  if (type == DType::kF32) {
    float value;
    std::memcpy(&value, base + index * sizeof(value), sizeof(value));
    return value;
  }
  std::uint16_t half;
  std::memcpy(&half, base + index * sizeof(half), sizeof(half));
  return type == DType::kBF16 ? float_of_bf16(half) : float_of_f16(half);
}

}  // namespace
}  // namespace tandem::kernels
