#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/cgroup.h"

namespace tandem::platform {
namespace {

namespace fs = std::filesystem;

/// A mounted hierarchy and this process' group in it.
struct Hierarchy {
  bool v2 = false;
  std::string controllers;  // v1: "cpu,cpuacct"
  fs::path mount;
  fs::path group;  // at or below mount
};

/// Groups above one that are looked at; deeper nesting than this is not met in practice.
constexpr int kMaxGroupDepth = 64;

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(std::move(line));
  return lines;
}

std::optional<std::uint64_t> read_number(const fs::path& file) {
  std::ifstream in(file);
  std::uint64_t value = 0;
  if (in >> value) return value;  // fails on version 2's "max"
  return std::nullopt;
}

/// The value of `key` in a file of "key value" lines; 0 when absent.
std::uint64_t read_stat(const fs::path& file, std::string_view key) {
  for (const std::string& line : lines_of(file)) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return 0;
}

bool lists(std::string_view comma_list, std::string_view word) {
  while (!comma_list.empty()) {
    const std::size_t comma = comma_list.find(',');
    if (comma_list.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) break;
    comma_list.remove_prefix(comma + 1);
  }
  return false;
}

/// mountinfo: "id parent major:minor ROOT MOUNT options [optional...] - TYPE source SUPER".
std::vector<std::pair<Hierarchy, std::string>> mounted(const fs::path& root) {
  std::vector<std::pair<Hierarchy, std::string>> found;  // with the group that the mount shows
  for (const std::string& line : lines_of(root / "proc/self/mountinfo")) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream head(line.substr(0, dash));
    std::istringstream tail(line.substr(dash + 3));
    std::string skip, top, mount, type, source, super;
    head >> skip >> skip >> skip >> top >> mount;
    tail >> type >> source >> super;
    if (type != "cgroup" && type != "cgroup2") continue;
    Hierarchy hierarchy;
    hierarchy.v2 = type == "cgroup2";
    hierarchy.controllers = super;
    hierarchy.mount = root / fs::path(mount).relative_path();
    found.emplace_back(std::move(hierarchy), top);
  }
  return found;
}

/// The hierarchies with this process' group filled in.
std::vector<Hierarchy> hierarchies(const fs::path& root) {
  std::vector<Hierarchy> out;
  const auto groups = lines_of(root / "proc/self/cgroup");
  for (auto& [hierarchy, top] : mounted(root)) {
    for (const std::string& line : groups) {  // "id:controllers:path"
      const std::size_t first = line.find(':');
      const std::size_t second = line.find(':', first + 1);
      if (first == std::string::npos || second == std::string::npos) continue;
      const std::string names = line.substr(first + 1, second - first - 1);
      const bool same = hierarchy.v2 ? names.empty()
                                     : !names.empty() && lists(hierarchy.controllers,
                                                               names.substr(0, names.find(',')));
      if (!same) continue;
      std::string group = line.substr(second + 1);
      // Without a cgroup namespace a container's mount starts at its own group.
      if (top != "/" && group.starts_with(top)) group.erase(0, top.size());
      hierarchy.group = hierarchy.mount / fs::path(group).relative_path();
      std::error_code code;
      if (!fs::is_directory(hierarchy.group, code)) hierarchy.group = hierarchy.mount;
      out.push_back(hierarchy);
      break;
    }
  }
  return out;
}

template <class T>
void lower(std::optional<T>& limit, T value) {
  limit = limit ? std::min(*limit, value) : value;
}

void add_memory(CgroupLimits& limits, const fs::path& group, bool v2) {
  const auto max = read_number(group / (v2 ? "memory.max" : "memory.limit_in_bytes"));
  if (!max) return;
  const auto used = read_number(group / (v2 ? "memory.current" : "memory.usage_in_bytes"));
  const fs::path stat = group / "memory.stat";
  const std::string prefix = v2 ? "" : "total_";
  const std::uint64_t cache =
      read_stat(stat, prefix + "inactive_file") + read_stat(stat, prefix + "active_file");
  const std::uint64_t busy = used.value_or(0) - std::min(used.value_or(0), cache);
  lower(limits.memory_max, *max);
  lower(limits.memory_free, *max - std::min(*max, busy));
}

void add_cpus(CgroupLimits& limits, const fs::path& group, bool v2) {
  double quota = 0;
  double period = 0;
  if (v2) {
    std::ifstream in(group / "cpu.max");  // "QUOTA PERIOD", or "max PERIOD"
    if (!(in >> quota >> period)) return;
  } else {
    quota = static_cast<double>(read_number(group / "cpu.cfs_quota_us").value_or(0));  // -1: none
    period = static_cast<double>(read_number(group / "cpu.cfs_period_us").value_or(0));
  }
  // Version 1 writes "no quota" as -1, which reads as a huge unsigned number.
  if (quota > 0 && quota < 1e15 && period > 0) lower(limits.cpus, quota / period);
}

}  // namespace

CgroupLimits read_cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  for (const Hierarchy& hierarchy : hierarchies(root)) {
    const bool memory = hierarchy.v2 || lists(hierarchy.controllers, "memory");
    const bool cpu = hierarchy.v2 || lists(hierarchy.controllers, "cpu");
    fs::path group = hierarchy.group;
    for (int depth = 0; depth < kMaxGroupDepth; ++depth) {
      if (memory) add_memory(limits, group, hierarchy.v2);
      if (cpu) add_cpus(limits, group, hierarchy.v2);
      if (group == hierarchy.mount || group == group.parent_path()) break;
      group = group.parent_path();
    }
  }
  return limits;
}

}  // namespace tandem::platform
