#include "base/bounded_call.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <utility>

namespace tandem {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(BoundedCall, AQuickResultIsHandedOn) {
  const auto answer = within(seconds(20), [] { return std::make_unique<int>(7); });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(**answer, 7);
}

TEST(BoundedCall, ACallThatHangsIsLeftBehindAndKeepsWhatItUses) {
  std::promise<void> wake;
  std::promise<int> ended;
  std::future<int> seen = ended.get_future();
  const auto begin = std::chrono::steady_clock::now();
  const auto answer =
      within(milliseconds(50), [woken = wake.get_future(), owned = std::make_unique<int>(5),
                                ended = std::move(ended)]() mutable {
        woken.wait();
        ended.set_value(*owned);
        return 1;
      });
  EXPECT_FALSE(answer.has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
  wake.set_value();
  EXPECT_EQ(seen.get(), 5);
}

}  // namespace
}  // namespace tandem
