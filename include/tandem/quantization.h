#pragma once
// The formats of quantized weights, a row of one table each.

#include <array>
#include <cstdint>
#include <string_view>

#include "tandem/dtype.h"

namespace tandem {

/// What the elements of a group have in common. kAffine: element = scale * q + bias.
enum class QuantMode : std::uint8_t { kAffine };

/// How a matrix is quantized: q is an unsigned integer of `bits` bits, and `group` consecutive
/// elements of a row share what the mode says.
struct Quantization {
  int bits = 4;
  int group = 64;
  QuantMode mode = QuantMode::kAffine;
  bool operator==(const Quantization&) const = default;
};

/// A format is a row here, a case of with_bits() in kernels/cpu/product_store.h if its bits are
/// new, and what tests/unit/kernels/formats.h makes of the row: its twin in double. Elements are
/// packed little-endian along a row in words of `packed`.
struct QuantFormat {
  QuantMode mode;
  std::string_view name;  // in config.json and to MLX's operations
  int bits;
  std::array<int, 3> groups;  // sizes that a group can have
  DType packed;
  std::string_view scales;    // endings of the names of tensors beside the packed one, each
  std::string_view biases;    // [rows, groups]
  std::array<int, 2> planes;  // how kernels/cpu/tiles.h cuts q, lower bits first; 0: none
};

inline constexpr std::array<int, 3> kAffineGroups = {32, 64, 128};
inline constexpr std::array<QuantFormat, 6> kQuantFormats = {{
    {QuantMode::kAffine, "affine", 2, kAffineGroups, DType::kU32, ".scales", ".biases", {2, 0}},
    {QuantMode::kAffine, "affine", 3, kAffineGroups, DType::kU32, ".scales", ".biases", {2, 1}},
    {QuantMode::kAffine, "affine", 4, kAffineGroups, DType::kU32, ".scales", ".biases", {4, 0}},
    {QuantMode::kAffine, "affine", 5, kAffineGroups, DType::kU32, ".scales", ".biases", {4, 1}},
    {QuantMode::kAffine, "affine", 6, kAffineGroups, DType::kU32, ".scales", ".biases", {4, 2}},
    {QuantMode::kAffine, "affine", 8, kAffineGroups, DType::kU32, ".scales", ".biases", {8, 0}},
}};

/// The row of a mode and a number of bits; null: there is none.
constexpr const QuantFormat* find_format(QuantMode mode, int bits) {
  for (const QuantFormat& format : kQuantFormats) {
    if (format.mode == mode && format.bits == bits) return &format;
  }
  return nullptr;
}

constexpr bool has_group(const QuantFormat& format, int group) {
  for (const int size : format.groups) {
    if (size == group) return true;
  }
  return false;
}

/// Numbers of bits and sizes of groups that affine formats have.
constexpr bool known_bits(int bits) { return find_format(QuantMode::kAffine, bits) != nullptr; }
constexpr bool known_group(int group) { return has_group(kQuantFormats.front(), group); }

}  // namespace tandem
