#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "kernels/bf16.h"
#include "kernels/kv_spec.h"
#include "kernels/stored.h"

namespace tandem::kernels {
namespace {

constexpr std::size_t kGroup = kInt8Group;

constexpr std::size_t round_up(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}
constexpr std::size_t groups_of(std::size_t n) { return (n + kGroup - 1) / kGroup; }

float widen(float x) { return x; }
float widen(Bf16 x) { return float_of_bf16(x.bits); }

Bf16 narrow(float x) { return {bf16_of_float(x)}; }

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

/// Where a token's key or value goes: its elements `stride` apart, and its scales (kI8).
struct Slot {
  std::byte* data;
  std::size_t stride;
  std::byte* scales;
};

template <class From>
void write(DType type, const Slot& to, const std::byte* from, std::size_t n) {
  const auto* x = reinterpret_cast<const From*>(from);
  switch (type) {
    case DType::kF32:
      return write_row(reinterpret_cast<float*>(to.data), to.stride, x, n);
    case DType::kBF16:
      return write_row(reinterpret_cast<Bf16*>(to.data), to.stride, x, n);
    case DType::kI8:
      return quantize_row(reinterpret_cast<std::int8_t*>(to.data), to.stride, x, n,
                          reinterpret_cast<float*>(to.scales));
    default:
      check(false, "KV is kept in float32, bfloat16 or int8");
  }
}

}  // namespace

KvLayout::KvLayout(const KvSpec& spec)
    : type(spec.type),
      value_in_key(spec.value_in_key),
      key_dim(static_cast<std::size_t>(spec.key_dim)),
      value_dim(static_cast<std::size_t>(spec.value_dim)) {
  const std::size_t item = size_of(type);
  key_stride = round_up(key_dim, kRowElements);
  value_stride = value_in_key ? key_stride : round_up(value_dim, kRowElements);
  value_offset = value_in_key ? 0 : key_dim * kPageTokens * item;
  key_scales = value_offset + kPageTokens * value_stride * item;
  const std::size_t scale_bytes = type == DType::kI8 ? kPageTokens * sizeof(float) : 0;
  head_bytes = key_scales + groups_of(key_dim) * scale_bytes;
  value_scales = value_in_key ? key_scales : head_bytes;
  if (!value_in_key) head_bytes += groups_of(value_dim) * scale_bytes;
}

std::size_t kv_page_bytes(const KvSpec& spec) {
  return static_cast<std::size_t>(spec.heads) * KvLayout(spec).head_bytes;
}

void write_kv(const KvLayout& layout, std::byte* head, std::size_t slot, DType from,
              const std::byte* key, const std::byte* value) {
  const std::size_t item = size_of(layout.type);
  const std::size_t scale = slot * sizeof(float);
  const auto put = [&](const Slot& to, const std::byte* x, std::size_t n, std::size_t padded) {
    std::memset(to.data + n * item, 0, (padded - n) * item);
    return from == DType::kBF16 ? write<Bf16>(layout.type, to, x, n)
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
