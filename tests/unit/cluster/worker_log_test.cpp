#include "cluster/rank/worker_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace tandem::cluster {
namespace {

using ::testing::ElementsAre;

TEST(WorkerLog, AFloodOfRefusalsIsALineASecond) {
  std::vector<std::string> lines;
  WorkerLog log([&](const std::string& line) { lines.push_back(line); });
  const Clock::time_point begin{};
  for (int i = 0; i < 1000; ++i) log.refuse("no", begin + std::chrono::milliseconds(i));
  EXPECT_THAT(lines, ElementsAre("no"));
  log.say("loaded");
  log.refuse("never", begin + std::chrono::seconds(1));
  EXPECT_THAT(lines, ElementsAre("no", "loaded", "never (999 more refusals before it)"));
}

TEST(WorkerLog, NobodyNeedsToRead) {
  WorkerLog log;
  log.say("x");
  log.refuse("y");
}

}  // namespace
}  // namespace tandem::cluster
