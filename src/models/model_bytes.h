#pragma once
// What the parts of a model take in memory once loaded, known before a byte of them is mapped.

#include <cstdint>
#include <optional>
#include <vector>

#include "config/model_config.h"
#include "kernels/activations.h"
#include "kernels/kv_spec.h"
#include "tandem/dtype.h"
#include "tandem/error.h"
#include "tandem/stage_info.h"
#include "weights/weight_folder.h"

namespace tandem::models {

/// Most bytes of logits that exist at once: a long scored chunk goes through the head in slices.
inline constexpr std::uint64_t kLogitsBytesMax = std::uint64_t{64} << 20;

/// Bytes of matrices.
struct PartBytes {
  std::uint64_t held = 0;     // once loaded
  std::uint64_t loading = 0;  // the most on top of that while one of them is made ready
};

/// What a layer's steps read and multiply, by which a planner weighs it.
struct LayerWork {
  std::uint64_t read = 0;          // bytes of matrices that every step reads
  std::uint64_t expert = 0;        // bytes of one routed expert; 0: none
  int experts = 0;                 // that a row's are chosen of
  int chosen = 0;                  // by a row
  double flops = 0;                // of products, a row; a multiply-add counts as two
  double depth_flops = 0;          // of attention, a row and token that it sees
  std::uint32_t window = 0;        // tokens that a query sees and KV is kept of; 0: all
  std::uint64_t kv_page_8bit = 0;  // kPageTokens positions with KV in 8 bits; 0: not here
};

/// Of a whole model, for one kind of kernels and type of activations. Plain numbers.
struct ModelBytes {
  std::vector<PartBytes> layers;       // never empty
  std::vector<std::uint64_t> kv_page;  // of each layer, kPageTokens positions
  std::vector<std::uint64_t> state;    // of each layer, whatever the positions
  PartBytes embedding;                 // of the first rank
  PartBytes head;                      // of the last rank
  bool tied = false;                   // a rank that has both holds the head alone
  std::uint64_t step_row = 0;          // what computing a row takes, in any layer
  std::uint64_t logits_row = 0;        // of the head's logits
  std::uint64_t hidden_row = 0;        // of hidden states, as they travel between ranks
  std::vector<LayerWork> work;         // of each layer
  double head_flops = 0;               // a row
};

/// What a rank of some layers takes.
struct MemoryNeeds {
  std::uint64_t weights = 0;
  std::uint64_t loading = 0;  // on top while they load
  std::uint64_t step = 0;     // on top while the largest step is computed
  std::uint64_t kv_page = 0;  // KV of kPageTokens positions of one sequence
  std::uint64_t state = 0;    // what recurrent layers keep of one

  /// Without KV and states.
  std::uint64_t fixed() const { return weights + (loading > step ? loading : step); }
  /// What a sequence has to have at least.
  std::uint64_t least_kept() const { return kv_page + state; }
};

/// `range` is inside the model; `rows`: of the largest step. Pure.
MemoryNeeds needs_of(const ModelBytes& model, LayerRange range, std::uint64_t rows);

/// How KV is kept when nobody says: as precise as the activations, or as the checkpoint where they
/// are int8.
DType usual_kv_type(kernels::Activations activations, DType checkpoint);

/// How a model is computed, as far as its bytes depend on it.
struct ComputeKind {
  bool tiles = true;  // weights in the tiles of our own kernels; else as MLX multiplies with them
  kernels::Activations activations = kernels::Activations::kInt8;
  std::optional<DType> kv_type = {};  // absent: the usual one
};
/// Reads names, shapes and types only. Fails as loading would.
Result<ModelBytes> model_bytes(const config::ModelConfig& config, weights::WeightFolder& folder,
                               const ComputeKind& kind);
/// By config.json alone, as converters usually store such a model.
Result<ModelBytes> model_bytes(const config::ModelConfig& config, const ComputeKind& kind);

}  // namespace tandem::models
