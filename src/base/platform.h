#pragma once
// What differs between operating systems: platform_linux.cpp, platform_macos.cpp.

#include <cstdint>
#include <filesystem>
#include <string>

#include "tandem/error.h"

namespace tandem::platform {

/// The running executable, to start more processes of it.
Result<std::filesystem::path> executable_path();
/// Physical cores that this process may use; at least 1.
int physical_cores();
/// Bytes of RAM of the machine (or of the cgroup, when smaller), and what is free for a new model.
std::uint64_t total_memory_bytes();
std::uint64_t free_memory_bytes();
/// Resident bytes of this process now.
std::uint64_t resident_bytes();
/// Gives the system what was freed and the C library keeps for later.
void give_memory_back();
/// Asks the kernel to kill this process when its parent dies, where the kernel can (Linux);
/// elsewhere the caller watches its control pipe.
void die_with_parent();
/// The same for all processes of one running system, and for no other's; empty: not known.
std::string system_id();
/// The machine's name for people.
std::string host_name();

}  // namespace tandem::platform
