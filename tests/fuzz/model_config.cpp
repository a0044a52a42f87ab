// config.json: refused with one line, or an architecture whose every number is in the range that
// later products of sizes rely on; and its layers split over ranks.

#include "config/model_config.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <variant>
#include <vector>

#include "fuzz/fuzz.h"
#include "models/architecture.h"

namespace {

using namespace tandem::models;
using tandem::fuzz::require;
using tandem::fuzz::require_refusal;

constexpr int kLarge = 1 << 24;  // no size of a model is larger

void check_size(int value) { require(value >= 1 && value <= kLarge); }

void check_attention(const GroupedAttention& attention) {
  for (const int size : {attention.heads, attention.kv_heads, attention.head_dim}) check_size(size);
  require(attention.heads % attention.kv_heads == 0);
  require(std::isfinite(attention.scale) && attention.scale > 0 && attention.softcap >= 0);
}

void check_attention(const LatentAttention& attention) {
  for (const int size : {attention.heads, attention.kv_rank, attention.nope_dim, attention.rope_dim,
                         attention.value_dim}) {
    check_size(size);
  }
  require(attention.q_rank >= 0 && attention.q_rank <= kLarge && std::isfinite(attention.scale));
}

void check_delta(const GatedDelta& delta) {
  for (const int size : {delta.key_heads, delta.heads, delta.key_dim, delta.value_dim}) {
    check_size(size);
  }
  require(delta.heads % delta.key_heads == 0 && delta.taps >= 2 && delta.taps <= 16);
}

void check_moe(const MoeSpec& moe) {
  check_size(moe.width);
  check_size(moe.router.experts);
  require(moe.router.top_k >= 1 && moe.router.top_k <= moe.router.experts);
  require(moe.router.groups >= 1 && moe.router.experts % moe.router.groups == 0);
  require(moe.router.top_groups >= 1 && moe.router.top_groups <= moe.router.groups);
  // The chosen groups hold enough experts.
  require(moe.router.top_k <= moe.router.experts / moe.router.groups * moe.router.top_groups);
  require(moe.shared_width >= 0 && moe.shared_width <= kLarge && std::isfinite(moe.router.scale));
}

void check_rope(const tandem::kernels::RopeSpec& rope, int head_dim) {
  require(rope.begin >= 0 && std::isfinite(rope.magnitude));
  const auto rotated = 2 * static_cast<int>(rope.inverse_frequency.size());
  require(rope.begin + rotated <= head_dim);
  for (const float frequency : rope.inverse_frequency) require(std::isfinite(frequency));
}

int head_dim(const Architecture& model) {
  if (const auto* grouped = std::get_if<GroupedAttention>(&model.attention)) {
    return grouped->head_dim;
  }
  const auto& latent = std::get<LatentAttention>(model.attention);
  return latent.nope_dim + latent.rope_dim;
}

void check_architecture(const Architecture& model) {
  for (const int size : {model.hidden, model.layer_count, model.vocabulary, model.context_max}) {
    check_size(size);
  }
  require(model.layers.size() == static_cast<std::size_t>(model.layer_count));
  require(model.extra_layers >= 0 && model.extra_layers <= kLarge);
  require(std::isfinite(model.norm_epsilon) && std::isfinite(model.embedding_scale));
  require(std::isfinite(model.logit_softcap) && model.logit_softcap >= 0);
  std::visit([](const auto& attention) { check_attention(attention); }, model.attention);
  if (model.moe) check_moe(*model.moe);
  if (model.delta) check_delta(*model.delta);
  for (const auto& rope : model.ropes) check_rope(rope, head_dim(model));
  for (const LayerSpec& layer : model.layers) {
    require(layer.rope >= 0 && static_cast<std::size_t>(layer.rope) < model.ropes.size());
    require(layer.window >= 0 && (!layer.moe || model.moe) && (!layer.recurrent || model.delta));
    if (!layer.moe) check_size(model.mlp.width);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto config = tandem::config::ModelConfig::parse(text, "config.json");
  if (!config) {
    require_refusal(config.error());
    return 0;
  }
  const auto architecture = architecture_of(*config);
  if (!architecture) {
    require_refusal(architecture.error());
    return 0;
  }
  check_architecture(*architecture);
  return 0;
}
