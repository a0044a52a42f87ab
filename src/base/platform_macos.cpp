#include <mach-o/dyld.h>
#include <mach/mach.h>
#include <mach/mach_host.h>
#include <malloc/malloc.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <system_error>

#include "base/platform.h"

namespace tandem::platform {
namespace {

/// An integer of the kernel's table; 0 when there is none of that name.
template <class T>
T sysctl_value(const char* name) {
  T value = 0;
  std::size_t size = sizeof(value);
  if (sysctlbyname(name, &value, &size, nullptr, 0) != 0 || size != sizeof(value)) return 0;
  return value;
}

}  // namespace

Result<std::filesystem::path> executable_path() {
  std::uint32_t size = 0;
  _NSGetExecutablePath(nullptr, &size);  // fails and states the size with the final zero
  std::string buffer(size, '\0');
  if (size == 0 || _NSGetExecutablePath(buffer.data(), &size) != 0) {
    return Error{ErrorCode::kInternal, "the running program's path is not known"};
  }
  std::error_code code;
  auto path = std::filesystem::canonical(buffer.c_str(), code);
  if (code) return Error{ErrorCode::kNotFound, std::string(buffer.c_str()) + ": " + code.message()};
  return path;
}

int physical_cores() { return std::max(1, sysctl_value<int>("hw.physicalcpu")); }

std::uint64_t total_memory_bytes() { return sysctl_value<std::uint64_t>("hw.memsize"); }

std::uint64_t free_memory_bytes() {
  vm_statistics64_data_t stats{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  vm_size_t page = 0;
  const mach_port_t host = mach_host_self();
  const bool ok = host_page_size(host, &page) == KERN_SUCCESS &&
                  host_statistics64(host, HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&stats),
                                    &count) == KERN_SUCCESS;
  mach_port_deallocate(mach_task_self(), host);
  if (!ok) return 0;
  // Inactive pages are reclaimed first; file pages among the active ones can be dropped too, but
  // the system keeps those it uses.
  const std::uint64_t pages =
      static_cast<std::uint64_t>(stats.free_count) + stats.inactive_count + stats.purgeable_count;
  return std::min(total_memory_bytes(), pages * page);
}

void give_memory_back() { malloc_zone_pressure_relief(nullptr, 0); }

std::uint64_t resident_bytes() {
  mach_task_basic_info_data_t info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&info),
                &count) != KERN_SUCCESS) {
    return 0;
  }
  return info.resident_size;
}

void die_with_parent() {}  // macOS has no such request; the caller watches its control pipe

std::string system_id() {
  std::array<char, 64> id{};
  std::size_t size = id.size() - 1;
  if (sysctlbyname("kern.bootsessionuuid", id.data(), &size, nullptr, 0) != 0) return {};
  return id.data();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

}  // namespace tandem::platform
