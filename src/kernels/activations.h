#pragma once
// In which precision a stage computes.

namespace tandem::kernels {

/// kF32: float32 between operations and inside them; KV float32.
/// kBF16: bfloat16 between operations, float32 inside; KV bfloat16.
/// kInt8: float32 between operations; the input of a quantized matmul is quantized per group of
/// weights to int8 and group dot products are exact integers; KV in the checkpoint's type
/// (bfloat16 for bf16/f16 checkpoints, float32 for f32 ones). Only our own loops round so.
enum class Activations { kF32, kBF16, kInt8 };

}  // namespace tandem::kernels
