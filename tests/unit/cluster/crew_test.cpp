#include "cluster/gateway/crew.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <thread>

namespace tandem::cluster {
namespace {

TEST(Crew, HandsProgressToTheCallingThreadInOrder) {
  const auto caller = std::this_thread::get_id();
  std::map<int, std::uint64_t> last;
  Crew crew;
  const auto task = [](int rank, Crew& mine) -> Status {
    for (std::uint64_t done = 1; done <= 50; ++done) mine.report(rank, done, 50);
    return {};
  };
  const auto status = crew.run(
      5, task, [] { FAIL() << "nothing failed"; },
      [&](int rank, std::uint64_t done, std::uint64_t total) {
        EXPECT_EQ(std::this_thread::get_id(), caller);
        EXPECT_EQ(total, 50);
        EXPECT_EQ(done, last[rank] + 1);
        last[rank] = done;
      });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(last.size(), 5);
  for (const auto& [rank, done] : last) EXPECT_EQ(done, 50) << rank;
}

TEST(Crew, TheFirstFailureAbortsTheOthersAndIsTheResult) {
  std::atomic<bool> aborted{false};
  std::atomic<int> aborts{0};
  const auto task = [&](int rank, Crew&) -> Status {
    if (rank == 2) return invalid("the first");
    while (!aborted) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Error{ErrorCode::kCancelled, "aborted"};
  };
  Crew crew;
  const auto status = crew.run(4, task,
                               [&] {
                                 ++aborts;
                                 aborted = true;
                               },
                               {});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "the first");
  EXPECT_EQ(aborts, 1);
}

}  // namespace
}  // namespace tandem::cluster
