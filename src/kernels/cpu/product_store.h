#pragma once
// Shared by the loops of products: scales of a group, the end of a row. One instruction set a file.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/product.h"
#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

constexpr int kParts = kTileRows / Lanes::kLanes;  // vectors of a tile's 16 rows

/// Lanes::kLanes stored elements from index `at`.
[[gnu::always_inline]] inline Lanes::Float load_stored(DType type, const std::byte* base, int at) {
  switch (type) {
    case DType::kF32:
      return Lanes::load(reinterpret_cast<const float*>(base) + at);
    case DType::kBF16:
      return Lanes::load_bf16(reinterpret_cast<const std::uint16_t*>(base) + at);
    default:
      break;
  }
  return Lanes::load_f16(reinterpret_cast<const std::uint16_t*>(base) + at);
}

/// Columns of a group that one part of a tile sees.
struct Group {
  Lanes::Float scale;
  Lanes::Float bias;
};

[[gnu::always_inline]] inline Group load_group(DType type, const std::byte* header, int part) {
  return {load_stored(type, header, part * Lanes::kLanes),
          load_stored(type, header, kTileRows + part * Lanes::kLanes)};
}

[[maybe_unused]] constexpr std::size_t header_bytes(DType type) {
  return (type == DType::kF32 ? 4 : 2) * 2 * kTileRows;
}

/// body(std::integral_constant<int, bits>()), for the bits that a packed element can have.
template <class Body>
[[gnu::always_inline]] inline void with_bits(int bits, const Body& body) {
  switch (bits) {
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    case 4:
      return body(std::integral_constant<int, 4>());
    case 5:
      return body(std::integral_constant<int, 5>());
    case 6:
      return body(std::integral_constant<int, 6>());
    default:
      return body(std::integral_constant<int, 8>());
  }
}

/// Elements of 32 columns as unsigned bytes, from the planes of `Bits` (see tiles.h).
template <int Bits>
[[gnu::always_inline]] inline void unpack(const std::byte* p, Lanes::Bytes (&q)[8]) {
  const auto vector = [p](int i) { return Lanes::load_bytes(p + i * kVectorBytes); };
  if constexpr (Bits == 8) {
    for (int j = 0; j < 8; ++j) q[j] = vector(j);
  } else if constexpr (Bits >= 4) {
    for (int i = 0; i < 4; ++i) {
      const Lanes::Bytes v = vector(i);
      q[2 * i] = Lanes::mask(v, 0x0F);
      q[2 * i + 1] = Lanes::mask(Lanes::template shift<4>(v), 0x0F);
    }
  } else {
    for (int i = 0; i < 2; ++i) {
      const Lanes::Bytes v = vector(i);
      q[4 * i] = Lanes::mask(v, 3);
      q[4 * i + 1] = Lanes::mask(Lanes::template shift<2>(v), 3);
      q[4 * i + 2] = Lanes::mask(Lanes::template shift<4>(v), 3);
      q[4 * i + 3] = Lanes::mask(Lanes::template shift<6>(v), 3);
    }
  }
  if constexpr (Bits == 6) {
    for (int i = 0; i < 2; ++i) {
      const Lanes::Bytes v = vector(4 + i);
      q[4 * i] = Lanes::join(q[4 * i], Lanes::mask(Lanes::template shift<-4>(v), 0x30));
      q[4 * i + 1] = Lanes::join(q[4 * i + 1], Lanes::mask(Lanes::template shift<-2>(v), 0x30));
      q[4 * i + 2] = Lanes::join(q[4 * i + 2], Lanes::mask(v, 0x30));
      q[4 * i + 3] = Lanes::join(q[4 * i + 3], Lanes::mask(Lanes::template shift<2>(v), 0x30));
    }
  }
  if constexpr (Bits == 3 || Bits == 5) {
    constexpr int kTop = Bits - 1;
    const Lanes::Bytes v = vector(kTop);
    const auto bit = [&](Lanes::Bytes moved) { return Lanes::mask(moved, 1 << kTop); };
    q[0] = Lanes::join(q[0], bit(Lanes::template shift<0 - kTop>(v)));
    q[1] = Lanes::join(q[1], bit(Lanes::template shift<1 - kTop>(v)));
    q[2] = Lanes::join(q[2], bit(Lanes::template shift<2 - kTop>(v)));
    q[3] = Lanes::join(q[3], bit(Lanes::template shift<3 - kTop>(v)));
    q[4] = Lanes::join(q[4], bit(Lanes::template shift<4 - kTop>(v)));
    q[5] = Lanes::join(q[5], bit(Lanes::template shift<5 - kTop>(v)));
    q[6] = Lanes::join(q[6], bit(Lanes::template shift<6 - kTop>(v)));
    q[7] = Lanes::join(q[7], bit(Lanes::template shift<7 - kTop>(v)));
  }
}

/// Ends row `row` of the product: y[.., first ..] = sums + bias, `count` outputs.
[[maybe_unused]] void finish_row(const Product& product, int row, int first, int count,
                                 const float* sums) {
  const std::size_t to = product.out != nullptr ? static_cast<std::size_t>(product.out[row])
                                                : static_cast<std::size_t>(row);
  const std::size_t at = to * product.y_stride + static_cast<std::size_t>(first);
  if (count == kTileRows && product.y_type == DType::kF32 && product.bias == nullptr) {
    for (int part = 0; part < kParts; ++part) {
      const int lane = part * Lanes::kLanes;
      Lanes::store(static_cast<float*>(product.y) + at + lane, Lanes::load(sums + lane));
    }
    return;
  }
  float values[kTileRows];
  for (int i = 0; i < count; ++i) {
    values[i] = product.bias != nullptr ? sums[i] + product.bias[first + i] : sums[i];
  }
  if (product.y_type == DType::kF32) {
    std::memcpy(static_cast<float*>(product.y) + at, values,
                static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  std::uint16_t* y = static_cast<std::uint16_t*>(product.y) + at;
  for (int i = 0; i < count; ++i) y[i] = bf16_of_float(values[i]);
}

}  // namespace
}  // namespace tandem::kernels
