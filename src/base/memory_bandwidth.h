#pragma once
// How fast this machine reads memory: what bounds the decoding of a model that fits no cache.

#include <cstddef>
#include <vector>

#include "tandem/error.h"

namespace tandem {

/// Reads `bytes` of memory, split over `threads` (at least 1), once in each of `repeats` runs,
/// after one run that is not counted. Returns bytes per second of each run. The memory is in large
/// pages as weights are, and every thread fills its own part first, so that it lies near it. Fails
/// with kResourceLimit when the system has not as much.
Result<std::vector<double>> measure_read_bandwidth(std::size_t bytes, int threads, int repeats);

}  // namespace tandem
