#pragma once
// How fast this machine reads memory: what bounds the decoding of a model that fits no cache.

#include <cstddef>
#include <vector>

namespace tandem {

/// Reads `bytes` of memory, split over `threads` (at least 1), once in each of `repeats` runs,
/// after one run that is not counted. Returns bytes per second of each run. Every thread fills its
/// own part first, so that its pages lie near it.
std::vector<double> measure_read_bandwidth(std::size_t bytes, int threads, int repeats);

}  // namespace tandem
