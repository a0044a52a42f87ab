#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <new>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

namespace tandem {
namespace {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class ThreadPoolOf : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolOf, RunsEveryIndexOnce) {
  ThreadPool pool(GetParam());
  std::mt19937_64 random(20240607);
  for (int round = 0; round < 2000; ++round) {
    const auto n = static_cast<std::int64_t>(random() % 700);
    const auto grain = static_cast<std::int64_t>(random() % 50);
    std::vector<std::atomic<int>> hits(static_cast<std::size_t>(n));
    pool.parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
      ASSERT_LT(begin, end);
      ASSERT_GE(thread, 0);
      ASSERT_LT(thread, pool.size());
      for (std::int64_t i = begin; i < end; ++i) hits[static_cast<std::size_t>(i)].fetch_add(1);
    });
    for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1) << "round " << round;
  }
}

TEST_P(ThreadPoolOf, ThreadIndexIsExclusiveWhileAChunkRuns) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> inside(static_cast<std::size_t>(pool.size()));
  std::atomic<int> overlaps{0};
  for (int round = 0; round < 500; ++round) {
    pool.parallel_for(64, 1, [&](std::int64_t, std::int64_t, int thread) {
      auto& mine = inside[static_cast<std::size_t>(thread)];
      if (mine.fetch_add(1) != 0) overlaps.fetch_add(1);
      mine.fetch_sub(1);
    });
  }
  EXPECT_EQ(overlaps.load(), 0);
}

TEST_P(ThreadPoolOf, WritesAreVisibleToTheCallerAfterwards) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> values(1000);
  for (std::int64_t round = 0; round < 3000; ++round) {
    pool.parallel_for(1000, 10, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) values[static_cast<std::size_t>(i)] = i + round;
    });
    for (std::int64_t i = 0; i < 1000; i += 37) {
      ASSERT_EQ(values[static_cast<std::size_t>(i)], i + round);
    }
  }
}

TEST_P(ThreadPoolOf, WorksAgainAfterSleeping) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<std::int64_t> sum{0};
    pool.parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) sum.fetch_add(i);
    });
    ASSERT_EQ(sum.load(), 4950);
  }
}

TEST_P(ThreadPoolOf, CarriesWhatAnyChunkThrowsToTheCallerAndStaysUsable) {
  ThreadPool pool(GetParam());
  constexpr std::int64_t kItems = 256;
  for (std::int64_t bad = 0; bad < kItems; bad += 3) {
    const auto throwing = [bad](std::int64_t begin, std::int64_t end, int) {
      if (begin <= bad && bad < end) throw std::bad_alloc();
    };
    ASSERT_THROW(pool.parallel_for(kItems, 1, throwing), std::bad_alloc) << bad;
    std::atomic<std::int64_t> sum{0};
    pool.parallel_for(kItems, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) sum.fetch_add(i);
    });
    ASSERT_EQ(sum.load(), kItems * (kItems - 1) / 2) << bad;
  }
}

TEST_P(ThreadPoolOf, LetsNoThreadUseABodyThatThrewOnAll) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> inside{0};
    const auto throwing = [&](std::int64_t, std::int64_t, int) {
      inside.fetch_add(1);
      for (int i = 0; i < 100; ++i) inside.load();
      inside.fetch_sub(1);
      throw std::runtime_error("a body");
    };
    ASSERT_THROW(pool.parallel_for(64, 1, throwing), std::runtime_error);
    ASSERT_EQ(inside.load(), 0);
  }
}

TEST_P(ThreadPoolOf, CountsStepsWhileALoopRunsAndNoneWhileABodyHangs) {
  ThreadPool pool(GetParam());
  constexpr std::int64_t kItems = 4096;
  std::atomic<bool> stuck{false};
  std::atomic<bool> go_on{false};
  std::thread loop([&] {
    pool.parallel_for(kItems, 1, [&](std::int64_t begin, std::int64_t end, int) {
      if (begin > kItems / 2 || end <= kItems / 2) return;
      stuck = true;
      stuck.notify_one();
      go_on.wait(false);
    });
  });
  stuck.wait(false);
  const std::uint64_t before = pool.steps();
  if (GetParam() == 1) {
    EXPECT_GE(before, static_cast<std::uint64_t>(kItems / 2 / 16)) << "one thread counts too";
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(pool.steps(), before);
  }
  go_on = true;
  go_on.notify_all();
  loop.join();
  EXPECT_GT(pool.steps(), before);
  EXPECT_GE(pool.steps(), static_cast<std::uint64_t>(kItems / 16));
  EXPECT_LE(pool.steps(), static_cast<std::uint64_t>(kItems));
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolOf, testing::Values(1, 2, 3, 4, 7));

TEST(ThreadPool, RunsNothingForAnEmptyRange) {
  ThreadPool pool(2);
  pool.parallel_for(0, 1, [](std::int64_t, std::int64_t, int) { FAIL(); });
  pool.parallel_for(-3, 1, [](std::int64_t, std::int64_t, int) { FAIL(); });
}

TEST(ThreadPool, RunsWorkBelowTheGrainOnTheCaller) {
  ThreadPool pool(4);
  const auto caller = std::this_thread::get_id();
  int calls = 0;
  pool.parallel_for(15, 8, [&](std::int64_t begin, std::int64_t end, int thread) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 15);
    EXPECT_EQ(thread, 0);
    ++calls;
  });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadPool, IdlePoolUsesUnderOnePercentCpu) {
  ThreadPool pool(4);
  pool.parallel_for(64, 1, [](std::int64_t, std::int64_t, int) {});
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(cpu_seconds() - before, 0.005);
}

}  // namespace
}  // namespace tandem
