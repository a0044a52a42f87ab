#pragma once
// What every operation needs to know: which backend computes and in which precision.

#include <mlx/mlx.h>

namespace tandem {
class ThreadPool;
}

namespace tandem::kernels {

namespace mx = mlx::core;

/// kCpu: our own loops, run at once. kMlx: compositions of MLX's own
/// operations, for Metal and CUDA; they also run on the CPU and are the oracle of our kernels
/// there.
enum class Backend { kCpu, kMlx };

/// kF32: float32 between operations and inside them; KV float32.
/// kBF16: bfloat16 between operations, float32 inside; KV bfloat16.
/// kInt8: float32 between operations; the input of a quantized matmul is quantized per group of
/// weights to int8 and group dot products are exact integers; KV in the checkpoint's type
/// (bfloat16 for bf16/f16 checkpoints, float32 for f32 ones).
enum class Activations { kF32, kBF16, kInt8 };

/// The instruction set of our loops. kBest: the best this CPU has.
enum class Isa { kBest, kAvx512Vnni, kAvx2, kNeon, kPortable };

/// Immutable after creation; shared by all operations of a stage. One thread computes with it at
/// a time. `pool` outlives it.
struct Context {
  Backend backend = Backend::kCpu;
  Activations activations = Activations::kInt8;
  Isa isa = Isa::kBest;  // resolved: never kBest once a stage runs
  ThreadPool* pool = nullptr;
  mx::Stream stream;  // of MLX's own operations

  /// The type of arrays between operations.
  mx::Dtype dtype() const { return activations == Activations::kBF16 ? mx::bfloat16 : mx::float32; }
};

}  // namespace tandem::kernels
