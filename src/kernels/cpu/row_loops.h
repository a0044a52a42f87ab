#pragma once
// The loops over rows of elements, a table per element type and instruction set. Raw pointers, no
// alignment needed; `x` and outputs hold the table's element type, inner arithmetic is float32.

#include <cstddef>
#include <cstdint>

#include "kernels/gated_activation.h"
#include "tandem/dtype.h"

namespace tandem::kernels {

struct RowLoops {
  void (*gated)(const void* gate, const void* up, void* out, std::size_t n, GatedActivation act);
  void (*softcap)(const void* x, void* out, std::size_t n, float cap);
  void (*add)(const void* a, const void* b, void* out, std::size_t n);
  void (*scale)(const void* x, void* out, std::size_t n, float factor);
  /// x * sigmoid(gate).
  void (*gate)(const void* x, const void* gate, void* out, std::size_t n);
  /// One row: x * sigmoid(*gate).
  void (*gate_row)(const void* x, const void* gate, void* out, std::size_t n);
  /// One row: x / rms(x) * weight.
  void (*rms_norm)(const void* x, const float* weight, void* out, std::size_t n, float epsilon);
  /// One row: the same times silu(gate).
  void (*gated_rms_norm)(const void* x, const void* gate, const float* weight, void* out,
                         std::size_t n, float epsilon);
  /// cos and sin of position * frequency[i] (the product in float32), times magnitude.
  void (*rope_angles)(const float* frequency, std::size_t half, float position, float magnitude,
                      float* cos, float* sin);
  /// Rotates `half` pairs from x to out; pairs (i, i + half), or (2i, 2i + 1) when interleaved.
  void (*rope)(const void* x, void* out, std::size_t half, bool interleaved, const float* cos,
               const float* sin);
};

/// Tables by the type of elements, kF32 or kBF16.
struct RowTable {
  RowLoops f32;
  RowLoops bf16;
  const RowLoops& operator[](DType type) const { return type == DType::kBF16 ? bf16 : f32; }
};

}  // namespace tandem::kernels
