#pragma once

#include <cstdint>

namespace tandem::kernels {

/// A bfloat16 as it lies in memory: the upper half of a float32.
struct Bf16 {
  std::uint16_t bits;
};

}  // namespace tandem::kernels
