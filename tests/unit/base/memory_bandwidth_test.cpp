#include "base/memory_bandwidth.h"

#include <gtest/gtest.h>

#include <cstddef>

namespace tandem {
namespace {

TEST(MemoryBandwidth, GivesOneRateARunWhateverTheSizeAndThreads) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4096}, std::size_t{8} << 20}) {
    for (const int threads : {1, 2, 5}) {
      const auto rates = measure_read_bandwidth(bytes, threads, 3);
      ASSERT_TRUE(rates.ok()) << rates.error().message;
      EXPECT_EQ(rates->size(), 3U);
      for (const double rate : *rates) {
        EXPECT_GT(rate, 0);
        EXPECT_LT(rate, 1e15);  // also false for infinity and NaN
      }
    }
  }
}

TEST(MemoryBandwidth, MemoryThatNoSystemHasIsAnError) {
  const auto rates = measure_read_bandwidth(std::size_t{1} << 60, 1, 1);
  ASSERT_FALSE(rates.ok());
  EXPECT_EQ(rates.error().code, ErrorCode::kResourceLimit);
}

}  // namespace
}  // namespace tandem
