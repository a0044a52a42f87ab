#include "models/meaning.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "tandem/quantization.h"

namespace tandem::models {
namespace {

/// Writes values one after the other, so that different values give different texts.
class Writer {
 public:
  template <class... T>
  void add(const T&... values) {
    (put(values), ...);
  }
  std::string text() && { return std::move(text_); }

 private:
  template <class T>
    requires std::is_integral_v<T>
  void put(T value) {
    text_ += fmt::format("{} ", static_cast<std::int64_t>(value));
  }
  template <class T>
    requires std::is_enum_v<T>
  void put(T value) {
    put(static_cast<std::int64_t>(value));
  }
  void put(float value) { text_ += fmt::format("{:.9g} ", value); }
  void put(const std::string& value) { text_ += fmt::format("{}:{} ", value.size(), value); }
  template <class T>
  void put(const std::vector<T>& values) {
    put(values.size());
    for (const T& value : values) put(value);
  }
  template <class T, std::size_t N>
  void put(const std::array<T, N>& values) {
    for (const T& value : values) put(value);
  }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <class... T>
  void put(const std::variant<T...>& value) {
    put(value.index());
    std::visit([this](const auto& held) { this->put(held); }, value);
  }

  // Bindings name every member, so that a new one does not compile before it stands here.
  void put(const Quantization& in) {
    const auto& [bits, group, mode] = in;
    add(bits, group, mode);
  }
  void put(const config::Fp8Blocks& in) {
    const auto& [rows, cols] = in;
    add(rows, cols);
  }
  void put(const GroupedAttention& in) {
    const auto& [heads, kv_heads, dim, scale, softcap, qkv_bias, out_bias, norms, fused, gated] =
        in;
    add(heads, kv_heads, dim, scale, softcap, qkv_bias, out_bias, norms, fused, gated);
  }
  void put(const LatentAttention& in) {
    const auto& [heads, q_rank, kv_rank, nope, rope, value, scale, bias] = in;
    add(heads, q_rank, kv_rank, nope, rope, value, scale, bias);
  }
  void put(const GatedDelta& in) {
    const auto& [key_heads, heads, key_dim, value_dim, taps, fused] = in;
    add(key_heads, heads, key_dim, value_dim, taps, fused);
  }
  void put(const MlpSpec& in) {
    const auto& [act, width, bias, fused] = in;
    add(act, width, bias, fused);
  }
  void put(const kernels::RouterSpec& in) {
    const auto& [score, experts, top_k, groups, top_groups, group_score, late, normalize, epsilon,
                 scale] = in;
    add(score, experts, top_k, groups, top_groups, group_score, late, normalize, epsilon, scale);
  }
  void put(const MoeSpec& in) {
    const auto& [router, act, width, shared_width, shared_gate, correction] = in;
    add(router, act, width, shared_width, shared_gate, correction);
  }
  void put(const LayerSpec& in) {
    const auto& [rope, window, moe, recurrent] = in;
    add(rope, window, moe, recurrent);
  }
  void put(const kernels::RopeSpec& in) {
    const auto& [begin, interleaved, magnitude, frequencies, periods] = in;  // periods: derived
    add(begin, interleaved, magnitude, frequencies);
  }
  void put(const WeightNames& in) {
    // foreign: not of the model
    const auto& [moe, expert, corrections, optional, shared, foreign] = in;
    add(moe, expert, corrections, optional, shared);
  }

  std::string text_;
};

}  // namespace

std::string meaning(const config::ModelConfig& config, const Architecture& model) {
  const auto& [hidden, layer_count, extra, vocabulary, context, epsilon, offset, by_layout,
               sandwich, scale, softcap, tied, attention, delta, mlp, moe, ropes, layers, names] =
      model;
  Writer out;
  out.add(config.model_type, config.dtype, config.fp8, hidden, layer_count, extra, vocabulary,
          context, epsilon, offset, by_layout, sandwich, scale, softcap, tied, attention, delta,
          mlp, moe, ropes, layers, names, config.quantization.has_value());
  if (config.quantization) {
    const auto& [defaults, overrides] = *config.quantization;
    out.add(defaults);
    for (const auto& [module, own] : overrides) out.add(module, own);
  }
  return std::move(out).text();
}

}  // namespace tandem::models
