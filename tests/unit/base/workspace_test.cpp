#include "base/workspace.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>
#include <vector>

namespace tandem {
namespace {

TEST(Workspace, GivesAlignedMemoryThatDoesNotOverlapUntilReset) {
  constexpr unsigned kSeed = 5;
  std::mt19937 random(kSeed);
  Workspace workspace;
  for (int round = 0; round < 20; ++round) {
    struct Taken {
      std::uint8_t* data;
      std::size_t size;
      std::uint8_t mark;
    };
    std::vector<Taken> all;
    for (int i = 0; i < 30; ++i) {
      const std::size_t size = random() % (1U << (random() % 22));
      auto* data = workspace.take<std::uint8_t>(size);
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0U) << "seed " << kSeed;
      const auto mark = static_cast<std::uint8_t>(random());
      if (size != 0) std::memset(data, mark, size);
      all.push_back({data, size, mark});
    }
    for (const Taken& taken : all) {
      for (std::size_t i = 0; i < taken.size; i += 61) ASSERT_EQ(taken.data[i], taken.mark);
    }
    workspace.reset();
  }
}

TEST(Workspace, GivesTheSameMemoryAgainAfterReset) {
  Workspace workspace;
  for (int i = 0; i < 3; ++i) workspace.take<float>(std::size_t{1} << 20);
  workspace.reset();
  float* first = workspace.take<float>(std::size_t{3} << 20);
  workspace.reset();
  EXPECT_EQ(workspace.take<float>(std::size_t{3} << 20), first);
}

TEST(Workspace, ThrowsWithoutMemoryAndStaysUsable) {
  Workspace workspace;
  auto* kept = workspace.take<std::uint8_t>(100);
  std::memset(kept, 7, 100);
  // More than an address space has, and more than can be counted.
  EXPECT_THROW(workspace.take<std::uint8_t>(std::size_t{1} << 60), std::bad_alloc);
  EXPECT_THROW(workspace.take<double>(~std::size_t{0} / 2), std::bad_alloc);
  EXPECT_EQ(kept[99], 7);
  std::memset(workspace.take<std::uint8_t>(1000), 1, 1000);
  EXPECT_EQ(kept[99], 7);
  workspace.reset();
  std::memset(workspace.take<std::uint8_t>(std::size_t{3} << 20), 1, std::size_t{3} << 20);
}

}  // namespace
}  // namespace tandem
