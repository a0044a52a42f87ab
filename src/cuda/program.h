#pragma once
// The kernels of this folder as the build made them.

#include <cstddef>
#include <span>

namespace tandem::cuda {

/// A kernel of kernels/program.txt, and its name in the cubin.
struct ProgramEntry {
  const char* name;
  const char* symbol;
};

struct Program {
  std::span<const std::byte> cubin;  // empty: built where there was no compiler for it
  std::span<const ProgramEntry> entries;
};

/// For compute capability 9.0 (Hopper).
Program program();
inline constexpr int kProgramCapability = 90;

}  // namespace tandem::cuda
