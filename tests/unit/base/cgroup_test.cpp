#ifdef __linux__
#include "base/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace tandem::platform {
namespace {

namespace fs = std::filesystem;

/// A made-up /proc and /sys.
class Cgroup : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("tandem_cgroup_" + std::to_string(getpid()));
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void v2(const std::string& group) {
    write("proc/self/cgroup", "0::" + group + "\n");
    write("proc/self/mountinfo",
          "30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  }
  fs::path root_;
};

TEST_F(Cgroup, WithoutFilesNothingIsLimited) {
  const auto limits = read_cgroup_limits(root_);
  EXPECT_FALSE(limits.memory_max || limits.memory_free || limits.cpus);
}

TEST_F(Cgroup, Version2TakesTheTightestGroupUpwards) {
  v2("/a/b");
  write("sys/fs/cgroup/a/memory.max", "1000\n");
  write("sys/fs/cgroup/a/memory.current", "700\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 150\nactive_file 50\n");
  write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  const auto limits = read_cgroup_limits(root_);
  EXPECT_EQ(limits.memory_max, 1000U);
  EXPECT_EQ(limits.memory_free, 500U) << "1000 - (700 - 200 of file cache)";
  EXPECT_EQ(limits.cpus, 1.5);
}

TEST_F(Cgroup, Version1ReadsItsOwnNames) {
  write("proc/self/cgroup", "4:memory:/c\n3:cpu,cpuacct:/c\n");
  write("proc/self/mountinfo",
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
  write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "4096\n");
  write("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "1096\n");
  write("sys/fs/cgroup/memory/c/memory.stat", "total_inactive_file 96\ntotal_active_file 0\n");
  write("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
  const auto limits = read_cgroup_limits(root_);
  EXPECT_EQ(limits.memory_max, 4096U);
  EXPECT_EQ(limits.memory_free, 3096U);
  EXPECT_FALSE(limits.cpus.has_value());
}

TEST_F(Cgroup, AContainerWithoutNamespaceSeesItsOwnGroupAsTheMount) {
  write("proc/self/cgroup", "4:memory:/docker/abc\n");
  write("proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "77\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
  EXPECT_EQ(read_cgroup_limits(root_).memory_max, 77U);
}

TEST_F(Cgroup, GarbageLimitsNothing) {
  v2("/../../..");
  write("sys/fs/cgroup/memory.max", "lots\n");
  write("sys/fs/cgroup/cpu.max", "-5 0\n");
  const auto limits = read_cgroup_limits(root_);
  EXPECT_FALSE(limits.memory_max || limits.cpus);
}

}  // namespace
}  // namespace tandem::platform
#endif
