#pragma once
// What a family turns a config.json into: the whole wiring of a model as data. One decoder runs any
// of these from shared blocks.

#include <array>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "config/model_config.h"
#include "kernels/moe.h"
#include "kernels/rope.h"
#include "tandem/error.h"

namespace tandem::models {

/// Query heads that share key and value heads (arXiv 2305.13245).
struct GroupedAttention {
  int heads = 0;
  int kv_heads = 0;  // divides heads
  int head_dim = 0;
  float scale = 1;
  float softcap = 0;  // 0: off
  bool qkv_bias = false;
  bool out_bias = false;
  bool head_norms = false;  // q_norm and k_norm over each head
  bool fused = false;       // the checkpoint has one qkv_proj
  bool gated = false;       // behind each head's query q_proj has a gate of what the head returns
};

/// Multi-head latent attention (arXiv 2405.04434 section 2.1), run in its absorbed form.
struct LatentAttention {
  int heads = 0;
  int q_rank = 0;    // 0: q_proj straight from the hidden state
  int kv_rank = 0;   // of the cached latent
  int nope_dim = 0;  // of a head's query and key without position
  int rope_dim = 0;
  int value_dim = 0;
  float scale = 1;
  bool bias = false;  // of q_a_proj, kv_a_proj_with_mqa and o_proj
};

/// A recurrent layer in the place of attention: the gated delta rule (arXiv 2412.06464).
struct GatedDelta {
  int key_heads = 0;  // of queries and keys
  int heads = 0;      // of values; a multiple
  int key_dim = 0;
  int value_dim = 0;
  int taps = 0;        // of the convolution before it
  bool fused = false;  // the checkpoint has in_proj_qkvz and in_proj_ba, key head by key head
};

struct MlpSpec {
  kernels::GatedActivation act = kernels::GatedActivation::kSwiGlu;
  int width = 0;
  bool bias = false;
  bool fused = false;  // the checkpoint has one gate_up_proj
};

struct MoeSpec {
  kernels::RouterSpec router;
  kernels::GatedActivation act = kernels::GatedActivation::kSwiGlu;
  int width = 0;             // of one expert
  int shared_width = 0;      // of the expert that every token goes through; 0: none
  bool shared_gate = false;  // a row of logits weighs that expert
  bool correction = false;   // gate.e_score_correction_bias
};

/// What differs from layer to layer.
struct LayerSpec {
  int rope = 0;    // index into Architecture::ropes
  int window = 0;  // positions a query sees, its own among them; 0: all before it
  bool moe = false;
  bool recurrent = false;  // Architecture::delta in the place of attention
};

/// Module names, where families differ.
struct WeightNames {
  std::vector<std::string> moe = {"mlp"};  // the first that the folder has
  /// gate, up, down of a single expert's own tensors.
  std::array<std::string, 3> expert = {"gate_proj", "up_proj", "down_proj"};
  /// MoeSpec's correction, within the module: the first that the folder has.
  std::vector<std::string> corrections = {"gate.e_score_correction_bias"};
  bool correction_optional = false;       // without it nothing is added
  std::string shared = "shared_experts";  // the expert that every token goes through
  /// Parts of the folder that belong to other models (a vision tower).
  std::vector<std::string> foreign;
};

/// A validated model. Every number is in the range that the kernels accept.
struct Architecture {
  int hidden = 0;
  int layer_count = 0;
  int extra_layers = 0;  // after the last that the folder may hold and that nothing runs
  int vocabulary = 0;
  int context_max = 0;  // tokens that the model was made for
  float norm_epsilon = 1e-6F;
  float norm_offset = 0;  // added to norm weights at load (Gemma: 1)
  /// norm_offset is that of Hugging Face's folders, whose conv1d.weight is [channels, 1, taps];
  /// mlx-lm's, [channels, taps, 1], have it added already.
  bool offset_by_layout = false;
  bool sandwich_norms = false;  // a norm after attention and after the MLP too (Gemma 2, 3)
  float embedding_scale = 1;
  float logit_softcap = 0;   // 0: off
  std::optional<bool> tied;  // head is the embedding; nullopt: when the folder has no lm_head
  std::variant<GroupedAttention, LatentAttention> attention;
  std::optional<GatedDelta> delta;  // of layers that are recurrent
  MlpSpec mlp;
  std::optional<MoeSpec> moe;
  std::vector<kernels::RopeSpec> ropes;
  std::vector<LayerSpec> layers;
  WeightNames names;
};

/// Maps a config to its architecture by model_type. An unknown one is refused with the list of the
/// known; fields out of range are refused by name.
Result<Architecture> architecture_of(const config::ModelConfig& config);

/// The model types that architecture_of() knows, sorted.
std::vector<std::string> known_model_types();

}  // namespace tandem::models
