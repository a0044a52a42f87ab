#pragma once
// MLX's affine quantization format.

namespace tandem {

/// element = scale * q + bias, q an unsigned integer of `bits` bits (2, 3, 4, 5, 6, 8) packed
/// little-endian in uint32 words along a row; one scale and one bias per `group` (32, 64, 128)
/// consecutive elements of a row.
struct Quantization {
  int bits = 4;
  int group = 64;
  bool operator==(const Quantization&) const = default;
};

/// Numbers of bits and sizes of groups that the format knows.
constexpr bool known_bits(int bits) { return bits >= 2 && bits <= 8 && bits != 7; }
constexpr bool known_group(int group) { return group == 32 || group == 64 || group == 128; }

}  // namespace tandem
