#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/cgroup.h"
#include "base/platform.h"

namespace tandem::platform {
namespace {

/// A line "Name:   123 kB" of /proc/meminfo, in bytes; 0 when absent.
std::uint64_t meminfo_bytes(std::string_view name) {
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') continue;
    std::istringstream words(line.substr(name.size() + 1));
    std::uint64_t kilobytes = 0;
    if (words >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

int read_int(const std::string& file, int fallback) {
  std::ifstream in(file);
  int value = 0;
  return in >> value ? value : fallback;
}

/// Distinct cores among the processors that the scheduler may give this process.
int cores_in_affinity_mask() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {  // more than CPU_SETSIZE processors
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  std::set<std::pair<int, int>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const int core = read_int(topology + "core_id", -1);
    const int package = read_int(topology + "physical_package_id", -1);
    cores.emplace(core < 0 ? -2 - cpu : package, core);  // no topology: a core of its own
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace

Result<std::filesystem::path> executable_path() {
  std::error_code code;
  auto path = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code) return Error{ErrorCode::kInternal, "/proc/self/exe: " + code.message()};
  if (!std::filesystem::exists(path, code)) {
    return Error{ErrorCode::kNotFound,
                 path.string() + ": the running program's file was replaced or removed"};
  }
  return path;
}

int physical_cores() {
  const int cores = cores_in_affinity_mask();
  const auto quota = read_cgroup_limits("/").cpus;
  if (!quota) return cores;
  return std::clamp(static_cast<int>(std::ceil(*quota)), 1, cores);
}

std::uint64_t total_memory_bytes() {
  const std::uint64_t machine = meminfo_bytes("MemTotal");
  return std::min(machine, read_cgroup_limits("/").memory_max.value_or(machine));
}

std::uint64_t free_memory_bytes() {
  const std::uint64_t machine = meminfo_bytes("MemAvailable");
  return std::min(machine, read_cgroup_limits("/").memory_free.value_or(machine));
}

void give_memory_back() { malloc_trim(0); }

std::uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");  // pages: size resident ...
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  if (!(in >> size >> resident)) return 0;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

void die_with_parent() { prctl(PR_SET_PDEATHSIG, SIGKILL); }

std::string system_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return id;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

}  // namespace tandem::platform
