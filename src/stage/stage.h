#pragma once
// One stage of the pipeline: runs Ticks on its layers.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "config/model_config.h"
#include "kernels/context.h"
#include "models/decoder.h"
#include "models/model_bytes.h"
#include "tandem/dtype.h"
#include "tandem/error.h"
#include "tandem/stage_info.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// Hidden states between two stages: [rows, cols], row-major, in a tick's token order.
struct Hidden {
  DType dtype = DType::kF32;  // kF32 or kBF16, fixed by the plan
  std::int32_t rows = 0;
  std::int32_t cols = 0;
  std::vector<std::byte> bytes;
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
  std::uint64_t memory_bytes = 0;  // for weights, steps and KV; 0: what the device has free
  std::uint64_t kv_bytes_max = 0;  // 0: as kv_budget() finds
  std::uint32_t step_rows = 2048;  // tokens of the largest tick, for which memory is kept
};

/// What the model's parts take in memory, computed as `options` say. Reads no weights.
Result<models::ModelBytes> model_bytes_of(const StageOptions& options);
/// The largest step, of at most options.step_rows, that the memory of this machine has room for;
/// `stages` of the model compute here at once. What cannot be read loading will say.
std::uint32_t fitting_step(const StageOptions& options, int stages);

/// Exactly one of the two is set: hidden unless this is the last stage.
struct StageOutput {
  std::optional<Hidden> hidden;
  std::optional<TickResult> result;
};

/// Owns weights, KV and (on the last stage) the sampler's state of each sequence. One thread calls
/// run(). After an error the KV of the tick's sequences is undefined: free them.
class Stage {
 public:
  static Result<std::unique_ptr<Stage>> load(const StageOptions& options,
                                             const models::LoadProgress& progress);
  virtual ~Stage() = default;

  virtual const StageInfo& info() const = 0;
  /// Resident bytes that this stage accounts for: weights and KV pages, those kept
  /// for the next sequences among them.
  virtual std::uint64_t memory_bytes() const = 0;
  /// For other threads, while run() computes: a number that grows at least every few hundred
  /// milliseconds while it gets on. nullopt: nobody counts (a GPU, MLX's own operations).
  virtual std::optional<std::uint64_t> progress() const { return std::nullopt; }
  /// `in` is empty on the first stage. Every size is checked against the plan: a tick that does not
  /// fit fails and changes nothing, with kInvalidArgument (rows, ids, positions, parameters) or
  /// kResourceLimit (the KV budget). kFree of a sequence that this stage never saw is fine. A
  /// failure of the computation is kInternal and names the stage's layers.
  virtual Result<StageOutput> run(const Tick& tick, const Hidden& in) = 0;
};

}  // namespace tandem::stage
