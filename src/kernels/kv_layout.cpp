#include <bit>
#include <cstring>
#include <type_traits>

#include "kernels/kv_spec.h"

namespace tandem::kernels {
namespace {

constexpr std::size_t round_up(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}

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

template <class To, class From>
void write_row(To* to, const From* from, std::size_t n, std::size_t stride) {
  for (std::size_t i = 0; i < n; ++i) to[i] = convert<To>(from[i]);
  std::memset(to + n, 0, (stride - n) * sizeof(To));
}

template <class To, class From>
void write_token(const KvLayout& layout, std::byte* head, std::size_t slot, const std::byte* key,
                 const std::byte* value) {
  auto* keys = reinterpret_cast<To*>(head);
  const auto* k = reinterpret_cast<const From*>(key);
  if (layout.value_in_key) {
    return write_row(keys + slot * layout.key_stride, k, layout.key_dim, layout.key_stride);
  }
  for (std::size_t d = 0; d < layout.key_dim; ++d) {
    keys[d * kPageTokens + slot] = convert<To>(k[d]);
  }
  auto* values = reinterpret_cast<To*>(head + layout.value_offset);
  write_row(values + slot * layout.value_stride, reinterpret_cast<const From*>(value),
            layout.value_dim, layout.value_stride);
}

}  // namespace

KvLayout::KvLayout(const KvSpec& spec)
    : element(spec.type == KvType::kBF16 ? Element::kBF16 : Element::kF32),
      value_in_key(spec.value_in_key),
      key_dim(static_cast<std::size_t>(spec.key_dim)),
      value_dim(static_cast<std::size_t>(spec.value_dim)) {
  const std::size_t item = element == Element::kBF16 ? 2 : 4;
  key_stride = round_up(key_dim, kRowElements);
  value_stride = value_in_key ? key_stride : round_up(value_dim, kRowElements);
  value_offset = value_in_key ? 0 : key_dim * kPageTokens * item;
  head_bytes = value_offset + kPageTokens * value_stride * item;
}

std::size_t kv_page_bytes(const KvSpec& spec) {
  return static_cast<std::size_t>(spec.heads) * KvLayout(spec).head_bytes;
}

void write_kv(const KvLayout& layout, std::byte* head, std::size_t slot, Element from,
              const std::byte* key, const std::byte* value) {
  const bool narrow_from = from == Element::kBF16;
  if (layout.element == Element::kBF16) {
    return narrow_from ? write_token<Bf16, Bf16>(layout, head, slot, key, value)
                       : write_token<Bf16, float>(layout, head, slot, key, value);
  }
  return narrow_from ? write_token<float, Bf16>(layout, head, slot, key, value)
                     : write_token<float, float>(layout, head, slot, key, value);
}

}  // namespace tandem::kernels
