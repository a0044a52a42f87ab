#pragma once
// What the loops of recurrent layers are told. `x` and results hold the table's element type.

#include <cstddef>

#include "kernels/state_spec.h"
#include "tandem/dtype.h"

namespace tandem::kernels {

/// Channels [begin, end) of a causal depthwise convolution over the rows of one sequence.
struct ConvTask {
  const void* x = nullptr;      // [rows, channels]
  const float* taps = nullptr;  // [kept + 1, channels], the newest input's last
  void* inputs = nullptr;       // [kept, channels] before the rows; those after them when done
  void* out = nullptr;          // [rows, channels]
  std::size_t rows = 0;
  std::size_t kept = 0;
  std::size_t channels = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// What all heads of a call share.
struct DeltaShape {
  std::size_t key_heads = 0;
  std::size_t heads = 0;
  std::size_t key_dim = 0;
  std::size_t value_dim = 0;
  std::size_t row = 0;  // elements of a row of queries, keys and values
};

/// One head over the rows of one sequence.
struct DeltaTask {
  const void* qkv = nullptr;     // [rows, shape.row]
  const float* decay = nullptr;  // [rows, heads]
  const float* rate = nullptr;   // [rows, heads]
  float* matrix = nullptr;       // the head's, in tiles: see StateLayout
  void* out = nullptr;           // [rows, heads, value_dim]
  std::size_t rows = 0;
  std::size_t head = 0;
};

struct RecurrentLoops {
  /// silu of the convolution, rounded once.
  void (*conv)(const ConvTask& task);
  /// decay = exp(-exp(log_decay) softplus(a + bias)) and rate = sigmoid(b), of n heads.
  void (*delta_gates)(const float* log_decay, const float* bias, const void* a, const void* b,
                      float* decay, float* rate, std::size_t n);
  /// `scratch`: delta_scratch(shape) floats.
  void (*delta)(const DeltaShape& shape, const DeltaTask& task, float* scratch);
};

/// Rows whose queries and keys are brought to length at a time.
inline constexpr std::size_t kDeltaRows = 16;

inline std::size_t delta_scratch(const DeltaShape& shape) { return 2 * kDeltaRows * shape.key_dim; }

/// Tables by the type of elements, kF32 or kBF16.
struct RecurrentTable {
  RecurrentLoops f32;
  RecurrentLoops bf16;
  const RecurrentLoops& operator[](DType type) const { return type == DType::kBF16 ? bf16 : f32; }
};

}  // namespace tandem::kernels
