#pragma once
// One stage of the pipeline: runs Ticks on its layers.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/shared_bytes.h"
#include "config/model_config.h"
#include "kernels/activations.h"
#include "kernels/isa.h"
#include "models/decoder.h"
#include "tandem/dtype.h"
#include "tandem/error.h"
#include "tandem/stage_info.h"
#include "tandem/tick.h"

namespace tandem::models {
class WeightStore;
}

namespace tandem::stage {

/// Hidden states between two stages: [rows, cols], row-major, in a tick's token order.
struct Hidden {
  DType dtype = DType::kF32;  // kF32 or kBF16, fixed by the plan
  std::int32_t rows = 0;
  std::int32_t cols = 0;
  SharedBytes bytes;
};

struct StageOptions {
  std::filesystem::path folder;
  LayerRange layers;         // {0, 0}: all
  bool gpu = false;          // Metal or CUDA through MLX's own operations
  bool mlx_kernels = false;  // MLX's own operations on the CPU too (the oracle's path)
  kernels::Activations activations = kernels::Activations::kInt8;
  kernels::Isa isa = kernels::Isa::kBest;
  int kv_bits = 0;                 // of a KV element: 8, or 0: those of activations or checkpoint
  int threads = 0;                 // 0: physical cores
  std::uint64_t memory_bytes = 0;  // of weights and KV, the stage's share; 0: what is free
  std::uint64_t kv_bytes_max = 0;  // 0: default_kv_bytes() of that memory
};

/// An entry that a stage cannot compute, and why.
struct Refusal {
  std::size_t entry = 0;  // of the tick
  Error error;
};

/// Exactly one of hidden and result is set: hidden unless this is the last stage.
struct StageOutput {
  std::optional<Hidden> hidden;  // without rows of refused entries
  std::optional<TickResult> result;
  std::vector<Refusal> refusals = {};  // by this stage: TickEntry::refused of what goes on
};

/// Owns weights, KV and (on the last stage) the sampler's state of each sequence. One thread calls
/// run(). After an error of a whole tick the KV of its sequences is undefined: free them.
class Stage {
 public:
  /// `store`: weights of stages before, which this one keeps or drops; null: there are none.
  static Result<std::unique_ptr<Stage>> load(const StageOptions& options,
                                             const models::LoadProgress& progress,
                                             models::WeightStore* store = nullptr);
  virtual ~Stage() = default;

  virtual const StageInfo& info() const = 0;
  /// Resident bytes that this stage accounts for: weights and KV pages, those kept
  /// for the next sequences among them.
  virtual std::uint64_t memory_bytes() const = 0;
  /// For other threads, while run() computes: a number that grows at least every few hundred
  /// milliseconds while it gets on. nullopt: nobody counts (a GPU, MLX's own operations).
  virtual std::optional<std::uint64_t> progress() const { return std::nullopt; }
  /// `in` is empty on the first stage. What is wrong with one entry refuses that entry, frees its
  /// sequence here and touches no other: a broken rule (kInvalidArgument), KV that is not there
  /// (kNotFound) or finds no room (kResourceLimit), logits that are no numbers (kInternal, of the
  /// last stage). kFree of a sequence that this stage never saw is fine. An error is of the stage:
  /// kInternal, a tick that is no tick or a computation that failed; it names the stage's layers.
  virtual Result<StageOutput> run(const Tick& tick, const Hidden& in) = 0;
};

}  // namespace tandem::stage
