#pragma once
// The memory of what computes on this machine.

#include <cstdint>

namespace tandem::stage {

/// Bytes that the device has free now: of the CPU the machine's or the cgroup's, of a CUDA GPU its
/// own, of Metal the working set that it recommends less what this process holds of it. 0 for a GPU
/// that is not there. Any thread.
std::uint64_t free_memory(bool gpu);

/// Gives the system what this process has freed and its allocators keep for later. Any thread.
void give_memory_back();

}  // namespace tandem::stage
