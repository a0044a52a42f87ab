#pragma once
// A contiguous range of a decoder-only model's layers, ready to run.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "config/model_config.h"
#include "kernels/ops.h"
#include "tandem/dtype.h"
#include "tandem/error.h"
#include "tandem/stage_info.h"
#include "weights/weight_folder.h"

namespace tandem::models {

namespace mx = mlx::core;

/// Called with bytes made ready so far and in all, from the loading thread.
using LoadProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Weights and wiring of a layer range. One thread calls it.
class Decoder {
 public:
  virtual ~Decoder() = default;

  /// What each layer of the range keeps of a sequence, in order.
  virtual std::vector<kernels::LayerKept> kept() const = 0;
  /// Tokens that a query of each layer sees, its own among them; 0: all before it.
  virtual std::vector<int> windows() const = 0;
  /// Bytes of weights held, and read for one token (chosen experts only).
  virtual std::uint64_t weight_bytes() const = 0;
  virtual std::uint64_t weight_bytes_per_token() const = 0;

  /// ids int32 [T] -> [T, hidden]. Only a range that starts at layer 0 has the embedding.
  virtual mx::array embed(const mx::array& ids) const = 0;
  /// [T, hidden] -> [T, hidden] through the range's layers, each of which keeps something of the
  /// batch's sequences.
  virtual mx::array forward(mx::array hidden, const kernels::Batch& batch) const = 0;
  /// Final norm and head: [R, hidden] -> float32 logits [R, vocabulary]. Only a range that ends at
  /// the last layer has the head.
  virtual mx::array head(const mx::array& hidden) const = 0;
};

class WeightStore;

/// Loads the range's tensors (and the embedding, head and final norm where they belong to it) from
/// `weights`. Every tensor of the range must be there with its shape; a tensor of the folder that
/// no layer of the model knows is an error that names it. `kv_type`: how KV is kept; absent: as
/// precise as the activations, or as the checkpoint where activations are int8. `store`: where
/// parts that are held already are taken from, and loaded ones put; null: nothing is held. `ops`
/// outlives the decoder.
Result<std::unique_ptr<Decoder>> load_decoder(const config::ModelConfig& config,
                                              weights::WeightFolder& weights, LayerRange range,
                                              const kernels::Ops& ops, const LoadProgress& progress,
                                              std::optional<DType> kv_type = {},
                                              WeightStore* store = nullptr);

}  // namespace tandem::models
