#include "base/platform.h"

#include <gtest/gtest.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>
#include <vector>

namespace tandem::platform {
namespace {

TEST(Platform, KnowsItsExecutable) {
  const auto path = executable_path();
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(path->filename(), "base_test");
}

TEST(Platform, CountsCoresWithinTheMachine) {
  EXPECT_GE(physical_cores(), 1);
  EXPECT_LE(physical_cores(), static_cast<int>(std::thread::hardware_concurrency()));
}

TEST(Platform, MemoryFiguresAreOrdered) {
  EXPECT_GT(total_memory_bytes(), std::uint64_t{64} << 20);
  EXPECT_GT(free_memory_bytes(), 0U);
  EXPECT_LE(free_memory_bytes(), total_memory_bytes());
  EXPECT_GT(resident_bytes(), std::uint64_t{1} << 20);
  EXPECT_LT(resident_bytes(), total_memory_bytes());
}

TEST(Platform, ResidentBytesFollowTouchedPages) {
  const auto before = resident_bytes();
  const std::vector<char> block(std::size_t{64} << 20, 'x');
  EXPECT_GE(resident_bytes() + (std::uint64_t{8} << 20), before + block.size());
}

TEST(Platform, TheHostHasAName) { EXPECT_FALSE(host_name().empty()); }

#ifdef __linux__
TEST(Platform, AChildDiesWithItsParent) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    const pid_t child = fork();
    if (child == 0) {  // keeps the pipe's writing end open until it is killed
      die_with_parent();
      (void)!write(ends[1], "r", 1);
      for (;;) pause();
    }
    for (;;) pause();
  }
  close(ends[1]);
  char ready = 0;
  ASSERT_EQ(read(ends[0], &ready, 1), 1);
  kill(parent, SIGKILL);
  ASSERT_EQ(waitpid(parent, nullptr, 0), parent);
  EXPECT_EQ(read(ends[0], &ready, 1), 0) << "end of file: nobody holds the pipe any more";
  close(ends[0]);
}
#endif

}  // namespace
}  // namespace tandem::platform
