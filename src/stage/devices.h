#pragma once
// What computes on this machine, and its memory.

#include <cstdint>

namespace tandem::stage {

struct StageOptions;

/// Whether this machine's GPU computes such a stage: by our own kernels or by MLX's operations.
bool gpu_runs(const StageOptions& options);

/// Bytes that the device has free now: of the CPU the machine's or the cgroup's, of a CUDA GPU its
/// own, of Metal the working set that it recommends less what this process holds of it. 0 for a GPU
/// that is not there. Any thread.
std::uint64_t free_memory(bool gpu);

/// Gives the system what this process has freed and its allocators keep for later. Any thread.
void give_memory_back();

}  // namespace tandem::stage
