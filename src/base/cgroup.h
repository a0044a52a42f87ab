#pragma once
// What a Linux container allows this process. Source:
// Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst of the kernel, proc(5).

#include <cstdint>
#include <filesystem>
#include <optional>

namespace tandem::platform {

/// The tightest limits of this process' control group and the groups above it; nullopt: none.
struct CgroupLimits {
  std::optional<std::uint64_t> memory_max;   // bytes
  std::optional<std::uint64_t> memory_free;  // bytes; pages that only cache files count as free
  std::optional<double> cpus;                // processors' worth of time
};

/// Reads `root`/proc/self/{cgroup,mountinfo} and the groups they name below `root`, for version 1,
/// version 2 and both mixed. What cannot be read limits nothing.
CgroupLimits read_cgroup_limits(const std::filesystem::path& root);

}  // namespace tandem::platform
