#pragma once
// Which bits the operations of this program give.

#include <cstdint>

namespace tandem::kernels {

/// Raised by every change after which a stage computes other bits from the same tick: ranks of two
/// generations in one pipeline would make answers depend on the split.
inline constexpr std::uint32_t kGeneration = 1;

}  // namespace tandem::kernels
