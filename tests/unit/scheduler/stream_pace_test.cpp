// How long a stream waits for its next token while a long prompt is computed beside it, on
// machines whose ticks take a known time.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using Ids = std::vector<std::int32_t>;

struct Setting {
  int stages = 1;
  int streams = 1;
  double fixed = 0.016;  // seconds of a tick in each stage
  double row = 0.0025;   // and for each of its rows
  double position = 0;   // and for each position that one of them attends to
};

/// Gaps between a stream's tokens.
class Pace {
 public:
  void take(const std::vector<Event>& events, Clock::time_point now) {
    for (const Event& event : events) {
      if (!event.token) continue;
      const auto [last, first] = last_.try_emplace(event.sequence, now);
      if (!first) gaps_.push_back(std::chrono::duration<double>(now - last->second).count());
      last->second = now;
    }
  }
  std::vector<double> take_gaps() { return std::exchange(gaps_, {}); }

 private:
  std::map<std::uint64_t, Clock::time_point> last_;
  std::vector<double> gaps_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

class StreamPace : public ::testing::TestWithParam<Setting> {};

TEST_P(StreamPace, AtMostDoublesWhileALongPromptJoins) {
  const Setting& setting = GetParam();
  FakePipeline pipeline(setting.stages);
  pipeline.costs([&](const cost::TickLoad& load) {
    return (setting.fixed + setting.row * static_cast<double>(load.rows) +
            setting.position * static_cast<double>(load.attended)) /
           setting.stages;
  });
  Engine engine(pipeline, {.now = [&] { return pipeline.now(); }});
  for (std::int32_t i = 0; i < setting.streams; ++i) {
    ASSERT_TRUE(engine.add(request_of(Ids(20, i), 2000)).ok());
  }
  Pace pace;
  for (int i = 0; i < 100; ++i) pace.take(*engine.step(soon()), pipeline.now());
  std::vector<double> alone = pace.take_gaps();
  alone.erase(alone.begin(), alone.begin() + static_cast<std::ptrdiff_t>(alone.size() / 2));

  const auto begin = pipeline.now();
  const auto late = engine.add(request_of(Ids(3000, 77), 1));
  bool done = false;
  while (!done) {
    const auto events = engine.step(soon());
    ASSERT_TRUE(events.ok());
    done = std::any_of(events->begin(), events->end(),
                       [&](const Event& event) { return event.sequence == *late && event.token; });
    pace.take(*events, pipeline.now());
  }
  const double before = median(alone);
  const std::vector<double> beside = pace.take_gaps();
  EXPECT_LE(median(beside), 2 * before);
  const auto over =
      std::count_if(beside.begin(), beside.end(), [&](double gap) { return gap > 2.05 * before; });
  EXPECT_LE(over, static_cast<std::ptrdiff_t>(beside.size() / 20 + 1)) << "of " << beside.size();
  // The prompt gets what the streams leave: most of the machine's time on rows.
  const std::chrono::duration<double> took = pipeline.now() - begin;
  EXPECT_LE(took.count(), 8 * 3000 * (setting.row + 1500 * setting.position))
      << "the prompt starves";
  EXPECT_THAT(pipeline.broken(), ::testing::IsEmpty());
}

/// A machine that becomes ten times slower or faster for good while a long prompt is computed.
TEST(StreamPaceChange, IsFollowedWithinTenTicksOfALastingChange) {
  for (const double factor : {10.0, 0.1}) {
    double slowness = 1;
    FakePipeline pipeline(1);
    pipeline.costs([&](const cost::TickLoad& load) {
      return slowness * (0.016 + 0.0025 * static_cast<double>(load.rows));
    });
    Engine engine(pipeline, {.now = [&] { return pipeline.now(); }});
    for (std::int32_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(engine.add(request_of(Ids(20, i), 2000)).ok());
    }
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(engine.step(soon()).ok());
    ASSERT_TRUE(engine.add(request_of(Ids(3500, 77), 1)).ok());
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(engine.step(soon()).ok());
    slowness = factor;
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(engine.step(soon()).ok());
    Pace pace;
    for (int i = 0; i < 30; ++i) pace.take(*engine.step(soon()), pipeline.now());
    const double alone = factor * (0.016 + 0.0025 * 4);
    const double beside = median(pace.take_gaps());
    EXPECT_LE(beside, 2.1 * alone) << factor;
    EXPECT_GE(beside, 1.5 * alone) << factor << ": the prompt starves";
  }
}

INSTANTIATE_TEST_SUITE_P(Machines, StreamPace,
                         ::testing::Values(Setting{1, 1}, Setting{1, 4}, Setting{1, 16},
                                           Setting{1, 1, 0.004, 0.0001}, Setting{2, 1},
                                           Setting{2, 8}, Setting{4, 2}, Setting{4, 16},
                                           Setting{1, 4, 0.016, 0.0025, 1e-6},
                                           Setting{2, 4, 0.016, 0.0025, 1e-6}));

}  // namespace
}  // namespace tandem::scheduler
