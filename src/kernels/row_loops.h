#pragma once
// The loops over rows of elements, one table per instruction set. Raw pointers, no alignment
// needed; `x` and outputs hold the table's element type, inner arithmetic is float32.

#include <cstddef>
#include <cstdint>

#include "kernels/element.h"
#include "kernels/gated_activation.h"

namespace tandem::kernels {

enum class Isa;

struct RowLoops {
  void (*gated)(const void* gate, const void* up, void* out, std::size_t n, GatedActivation act);
  void (*softcap)(const void* x, void* out, std::size_t n, float cap);
  void (*add)(const void* a, const void* b, void* out, std::size_t n);
  void (*scale)(const void* x, void* out, std::size_t n, float factor);
  /// One row: x / rms(x) * weight.
  void (*rms_norm)(const void* x, const float* weight, void* out, std::size_t n, float epsilon);
  /// cos and sin of position * frequency[i] (the product in float32), times magnitude.
  void (*rope_angles)(const float* frequency, std::size_t half, float position, float magnitude,
                      float* cos, float* sin);
  /// Rotates `half` pairs from x to out; pairs (i, i + half), or (2i, 2i + 1) when interleaved.
  void (*rope)(const void* x, void* out, std::size_t half, bool interleaved, const float* cos,
               const float* sin);
};

/// Tables by Element.
struct RowTable {
  RowLoops loops[2];
  const RowLoops& operator[](Element e) const { return loops[static_cast<std::size_t>(e)]; }
};

namespace avx512 {
extern const RowTable kRows;
}
namespace avx2 {
extern const RowTable kRows;
}
namespace neon {
extern const RowTable kRows;
}
namespace portable {
extern const RowTable kRows;
}

/// The table of a resolved instruction set that this build has.
const RowTable& row_table(Isa isa);

}  // namespace tandem::kernels
