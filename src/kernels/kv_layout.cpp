#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/kv_spec.h"

namespace tandem::kernels {
namespace {

constexpr std::size_t kGroup = kInt8Group;

constexpr std::size_t round_up(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}
constexpr std::size_t bytes_of(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kBF16 ? 2 : 1;
}
constexpr std::size_t groups_of(std::size_t n) { return (n + kGroup - 1) / kGroup; }

float widen(float x) { return x; }
float widen(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

/// Rounds to nearest, ties to even; a NaN stays a NaN.
Bf16 narrow(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return {static_cast<std::uint16_t>((bits | 0x400000u) >> 16)};
  }
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <class To, class From>
To convert(From x) {
  if constexpr (std::is_same_v<To, From>) return x;
  if constexpr (std::is_same_v<To, float>) return widen(x);
  if constexpr (std::is_same_v<To, Bf16>) return narrow(widen(x));
}

/// n elements, `stride` apart.
template <class To, class From>
void write_row(To* to, std::size_t stride, const From* from, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i * stride] = convert<To>(from[i]);
}

/// The same as int8. Scales of groups lie kPageTokens apart. A group with an element that is not
/// finite has a scale that is not finite and no integers, so that it reads as NaN.
template <class From>
void quantize_row(std::int8_t* to, std::size_t stride, const From* from, std::size_t n,
                  float* scales) {
  constexpr float kMost = 127;
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to integers, ties to even
  for (std::size_t first = 0; first < n; first += kGroup, scales += kPageTokens) {
    const std::size_t last = first + kGroup < n ? first + kGroup : n;
    // Magnitudes order as their bits do, a NaN above infinity.
    std::uint32_t top = 0;
    for (std::size_t i = first; i < last; ++i) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(widen(from[i])) & 0x7fffffffu;
      top = bits > top ? bits : top;
    }
    const auto largest = std::bit_cast<float>(top);
    *scales = largest / kMost;
    const bool usable = std::isfinite(largest) && largest > 0;
    const float inverse = usable ? kMost / largest : 0;
    for (std::size_t i = first; i < last; ++i) {
      const float x = usable && std::isfinite(inverse) ? widen(from[i]) * inverse : 0;
      to[i * stride] = static_cast<std::int8_t>((x + kMagic) - kMagic);
    }
  }
}

/// Where a token's key or value goes: its elements `stride` apart, and its scales (kInt8).
struct Slot {
  std::byte* data;
  std::size_t stride;
  std::byte* scales;
};

template <class From>
void write(KvType type, const Slot& to, const std::byte* from, std::size_t n) {
  const auto* x = reinterpret_cast<const From*>(from);
  switch (type) {
    case KvType::kF32:
      return write_row(reinterpret_cast<float*>(to.data), to.stride, x, n);
    case KvType::kBF16:
      return write_row(reinterpret_cast<Bf16*>(to.data), to.stride, x, n);
    case KvType::kInt8:
      return quantize_row(reinterpret_cast<std::int8_t*>(to.data), to.stride, x, n,
                          reinterpret_cast<float*>(to.scales));
  }
}

}  // namespace

KvLayout::KvLayout(const KvSpec& spec)
    : type(spec.type),
      value_in_key(spec.value_in_key),
      key_dim(static_cast<std::size_t>(spec.key_dim)),
      value_dim(static_cast<std::size_t>(spec.value_dim)) {
  const std::size_t item = bytes_of(type);
  key_stride = round_up(key_dim, kRowElements);
  value_stride = value_in_key ? key_stride : round_up(value_dim, kRowElements);
  value_offset = value_in_key ? 0 : key_dim * kPageTokens * item;
  key_scales = value_offset + kPageTokens * value_stride * item;
  const std::size_t scale_bytes = type == KvType::kInt8 ? kPageTokens * sizeof(float) : 0;
  head_bytes = key_scales + groups_of(key_dim) * scale_bytes;
  value_scales = value_in_key ? key_scales : head_bytes;
  if (!value_in_key) head_bytes += groups_of(value_dim) * scale_bytes;
}

std::size_t kv_page_bytes(const KvSpec& spec) {
  return static_cast<std::size_t>(spec.heads) * KvLayout(spec).head_bytes;
}

void write_kv(const KvLayout& layout, std::byte* head, std::size_t slot, Element from,
              const std::byte* key, const std::byte* value) {
  const std::size_t item = bytes_of(layout.type);
  const std::size_t scale = slot * sizeof(float);
  const auto put = [&](const Slot& to, const std::byte* x, std::size_t n, std::size_t padded) {
    std::memset(to.data + n * item, 0, (padded - n) * item);
    return from == Element::kBF16 ? write<Bf16>(layout.type, to, x, n)
                                  : write<float>(layout.type, to, x, n);
  };
  if (layout.value_in_key) {
    return put({head + slot * layout.key_stride * item, 1, head + layout.key_scales + scale}, key,
               layout.key_dim, layout.key_stride);
  }
  put({head + slot * item, kPageTokens, head + layout.key_scales + scale}, key, layout.key_dim,
      layout.key_dim);
  put({head + layout.value_offset + slot * layout.value_stride * item, 1,
       head + layout.value_scales + scale},
      value, layout.value_dim, layout.value_stride);
}

}  // namespace tandem::kernels
