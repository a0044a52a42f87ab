#pragma once
// How fast this machine's CPU is at what a stage does: reading memory, and products.

#include <cstdint>

#include "tandem/error.h"

namespace tandem::stage {

/// Bytes that are read: more than caches hold.
inline constexpr std::uint64_t kProbeBytes = std::uint64_t{256} << 20;

struct MachineRates {
  int threads = 0;         // that were measured with
  double read = 0;         // bytes a second, all threads together
  double read_single = 0;  // of one thread
  double flops = 0;        // a second and thread, of our own int8 products; a multiply-add is two

  /// With other numbers of threads: memory's rate is reached by some of them.
  double read_with(int count) const;
};

/// Measures for about half a second, on an idle machine; kResourceLimit where kProbeBytes are not
/// free.
Result<MachineRates> measure_machine(int threads);

}  // namespace tandem::stage
