#pragma once
// Fields that most families read the same way, with the limits that keep every later product of
// sizes inside 64 bits.

#include <functional>
#include <optional>
#include <string_view>

#include "models/architecture.h"
#include "models/families/rope_table.h"
#include "tandem/limits.h"

namespace tandem::models::families {

inline constexpr int kMaxHidden = 1 << 17;
inline constexpr int kMaxWidth = 1 << 20;
inline constexpr int kMaxExpertWidth = 1 << 18;
inline constexpr int kMaxHeads = 4096;
inline constexpr int kMaxHeadDim = 4096;
inline constexpr int kMaxVocabulary = 1 << 24;
inline constexpr int kMaxExperts = 4096;

/// What a family assumes for absent fields; nullopt: the field is required.
struct Defaults {
  std::optional<int> vocabulary = std::nullopt;
  std::optional<int> heads = std::nullopt;
  std::optional<int> kv_heads = std::nullopt;  // absent otherwise: as many as heads
  std::optional<int> head_dim = std::nullopt;  // absent otherwise: hidden / heads
  int context_max = 2048;
  std::string_view act_field = "hidden_act";
  std::string_view act = "silu";
  bool dense_mlp = true;  // the config has an intermediate_size
};

/// The same for rotary tables.
struct RopeDefaults {
  double theta = 10000;
  double partial = 1;
  bool interleaved = false;
};

/// Sizes, norms, activation and layer count; one LayerSpec a layer with its defaults.
Architecture read_sizes(config::FieldReader& fields, const Defaults& defaults);

/// heads, kv_heads, head_dim and the usual scale.
GroupedAttention read_heads(config::FieldReader& fields, const Architecture& sizes,
                            const Defaults& defaults);

/// Adds the rotary table of a family with one rope for all layers and plain field names, and what
/// its scaling makes of the context.
void add_rope(config::FieldReader& fields, Architecture& model, int head_dim,
              const RopeDefaults& defaults);

/// The activation `act_field` names.
kernels::GatedActivation read_act(config::FieldReader& fields, const Defaults& defaults);

/// `sliding_window`, or 0 when it is null; `fallback` when the field is absent.
int read_window(const config::ModelConfig& config, config::FieldReader& fields, int fallback);

/// Gives sliding layers `window`: those that `layer_types` names, or by `rule` without that field.
/// Returns which layers slide.
std::vector<bool> apply_windows(config::FieldReader& fields, Architecture& sizes, int window,
                                const std::function<bool(int layer)>& rule);

/// tie_word_embeddings when the field is there.
std::optional<bool> read_tied(config::FieldReader& fields);

}  // namespace tandem::models::families
