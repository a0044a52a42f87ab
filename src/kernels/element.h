#pragma once
// The element types that loops read and write.

#include <cstdint>

namespace tandem::kernels {

enum class Element : std::uint8_t { kF32, kBF16 };

/// The upper half of a float32.
struct Bf16 {
  std::uint16_t bits;
};

}  // namespace tandem::kernels
