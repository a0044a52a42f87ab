// Every stage has a tick to work on, and none a larger one than another.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;

TEST(MicroBatches, AsManyAsStagesAreOnTheirWayWheneverTheCallerHasTheWord) {
  for (const int stages : {2, 3, 4}) {
    for (const std::size_t each : {1U, 2U, 5U}) {
      FakePipeline pipeline(stages);
      Engine engine(pipeline, {});
      const auto width = static_cast<std::size_t>(stages);
      for (std::size_t i = 0; i < width * each; ++i) {
        const std::vector<std::int32_t> prompt(10 + i, static_cast<std::int32_t>(i));
        ASSERT_TRUE(engine.add(request_of(prompt, 400)).ok());
      }
      for (std::size_t i = 0; i < 10 * width; ++i) ASSERT_TRUE(engine.step(soon()).ok());
      const std::size_t begun = pipeline.ticks();
      for (std::size_t i = 0; i < 20 * width; ++i) {
        ASSERT_TRUE(engine.step(soon()).ok());
        ASSERT_EQ(pipeline.in_flight(), width);
      }
      ASSERT_EQ(pipeline.ticks(), begun + 20 * width) << "a tick for each that came back";
      for (std::size_t i = begun; i < pipeline.ticks(); ++i) {
        EXPECT_EQ(pipeline.shapes()[i].size(), each) << stages << " stages";
        EXPECT_THAT(pipeline.shapes()[i], Each(1U));
      }
      EXPECT_THAT(pipeline.broken(), IsEmpty());
    }
  }
}

TEST(MicroBatches, StayEvenAsStreamsLeave) {
  FakePipeline pipeline(2);
  Engine engine(pipeline, {});
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(engine.add(request_of({i, 5}, 40 + 15 * i)).ok());
  }
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(engine.step(soon()).ok());
  while (engine.stats().running > 1) {
    ASSERT_TRUE(engine.step(soon()).ok());
    const auto& shapes = pipeline.shapes();
    const std::size_t last = shapes.back().size();
    const std::size_t before = shapes[shapes.size() - 2].size();
    // One more while the count is odd, and one that left since the tick before.
    ASSERT_LE(std::max(last, before) - std::min(last, before), 2U);
  }
  EXPECT_THAT(pipeline.broken(), IsEmpty());
}

}  // namespace
}  // namespace tandem::scheduler
