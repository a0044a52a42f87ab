#pragma once
// Every scaling of rotary embeddings reduced to one table of inverse frequencies.
// Sources: linear (kaiokendev), llama3 (Llama 3.1 reference code), yarn (arXiv 2309.00071),
// longrope/su (arXiv 2402.13753); field names as transformers and mlx-lm write them.

#include <optional>

#include "config/json.h"
#include "kernels/rope.h"

namespace tandem::models::families {

/// Longest context that a config may state, in tokens.
inline constexpr int kMaxContext = 1 << 30;

struct RopeGeometry {
  int head_dim = 0;
  bool interleaved = false;
  double partial = 1;        // share of the head that turns, unless the parameters say otherwise
  double theta = 10000;      // unless the parameters say otherwise
  int context_max = 0;       // max_position_embeddings
  int original_context = 0;  // before scaling; 0: the parameters' own, or context_max
};

/// `rope_parameters` (transformers 5) or `rope_scaling` (older, mlx-lm); nullopt when neither is
/// set.
std::optional<config::FieldReader> rope_parameters(config::FieldReader& fields);

/// The table of `parameters` ("rope_type" or "type": default, linear, dynamic, llama3, yarn,
/// deepseek_yarn, longrope, su; mrope, which is the default for text). An unknown type is refused
/// with the list. Two kinds depend on the length of the text in transformers and are fixed here, so
/// that a token's result never depends on what follows it: dynamic stays unscaled (it only changes
/// beyond context_max, where nothing runs), and longrope uses its long factors exactly when the
/// model's context is longer than the original.
kernels::RopeSpec rope_table(std::optional<config::FieldReader> parameters,
                             const RopeGeometry& geometry, config::FieldReader& fields);

/// Tokens of context once the rotation is scaled, as vLLM and llama.cpp read the fields: yarn
/// stretches original_max_position_embeddings by its factor, linear stretches context_max; every
/// other kind states the stretched length as context_max.
int scaled_context(std::optional<config::FieldReader> parameters, const RopeGeometry& geometry);

/// What yarn with mscale_all_dim multiplies DeepSeek's attention scale with; 1 otherwise.
double yarn_attention_scale(std::optional<config::FieldReader> parameters,
                            const RopeGeometry& geometry);

}  // namespace tandem::models::families
