#pragma once
// Random numbers that depend on where they are asked for only, so that a replay draws the same.

#include <array>
#include <cstdint>

namespace tandem::stage {

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

/// What a number at a position is for.
enum class Draw : std::uint32_t { kToken = 0, kXtc = 1 };

/// Uniform in [0, 1), 53 bits.
double uniform(std::uint64_t seed, std::uint64_t position, Draw draw);

}  // namespace tandem::stage
