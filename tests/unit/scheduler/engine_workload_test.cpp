// Random workloads: whatever arrives and whenever, the engine keeps its rules.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::IsEmpty;

/// A prompt that begins with a part of an earlier request and its answer.
template <class Pick>
std::vector<std::int32_t> follow_up(const std::map<std::uint64_t, Request>& requests,
                                    const std::vector<std::int32_t>& tail, const Pick& pick) {
  const auto earlier = std::next(requests.begin(), pick(0, static_cast<int>(requests.size()) - 1));
  std::vector<std::int32_t> prompt = earlier->second.prompt;
  const auto answer = expected(prompt, pick(0, 10));
  prompt.insert(prompt.end(), answer.begin(), answer.end());
  prompt.resize(static_cast<std::size_t>(pick(1, static_cast<int>(prompt.size()))));
  const std::size_t room = 700 - std::min<std::size_t>(prompt.size(), 699);
  prompt.insert(prompt.end(), tail.begin(),
                tail.begin() + static_cast<std::ptrdiff_t>(std::min(tail.size(), room)));
  return prompt;
}

/// One random workload: requests of all kinds arrive over time, some are cancelled.
void run_workload(std::mt19937_64& random) {
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  FakePipeline pipeline(pick(1, 5));
  if (pick(0, 1) == 0) {
    pipeline.info().kv_bytes_per_token = 1;
    pipeline.info().kv_bytes_max = static_cast<std::uint64_t>(pick(768, 4000));
  }
  const int kept_max = pick(0, 3);
  Engine engine(
      pipeline,
      {.prefill_step_size = pick(1, 300), .sequences_max = pick(1, 12), .kept_max = kept_max});
  std::map<std::uint64_t, Request> requests;
  std::map<std::uint64_t, Outcome> outcomes;
  std::set<std::uint64_t> cancelled;
  int arriving = pick(1, 30);
  int steps = 0;
  while (arriving > 0 || engine.busy()) {
    ASSERT_LT(++steps, 100000) << "a sequence never finishes";
    if (arriving > 0 && pick(0, 2) == 0) {
      --arriving;
      std::vector<std::int32_t> prompt(static_cast<std::size_t>(pick(1, pick(1, 700))));
      for (std::int32_t& id : prompt) id = pick(0, 999);
      if (!requests.empty() && pick(0, 1) == 0) prompt = follow_up(requests, prompt, pick);
      Request request = request_of(prompt, pick(0, 40));
      request.score = pick(0, 3) == 0;
      request.keep = pick(0, 1) == 0;
      for (int i = pick(0, 20); i > 0; --i) request.stop_ids.push_back(pick(0, 999));
      std::sort(request.stop_ids.begin(), request.stop_ids.end());
      const auto id = engine.add(request);
      ASSERT_TRUE(id.ok()) << id.error().message;
      requests[*id] = request;
    }
    if (!requests.empty() && pick(0, 60) == 0) {
      const std::uint64_t id =
          1 + static_cast<std::uint64_t>(pick(0, static_cast<int>(requests.size()) - 1));
      if (outcomes[id].finish == FinishReason::kNone) cancelled.insert(id);
      engine.cancel(id);
    }
    auto events = engine.step(soon());
    ASSERT_TRUE(events.ok()) << events.error().message;
    collect(*events, outcomes);
    ASSERT_THAT(pipeline.broken(), IsEmpty());
  }
  for (const auto& [id, request] : requests) {
    if (cancelled.contains(id)) continue;
    ASSERT_NE(outcomes[id].finish, FinishReason::kNone);
    ASSERT_EQ(outcomes[id].ids, expected(request.prompt, request.max_tokens, request.stop_ids));
    ASSERT_EQ(outcomes[id].prompt_done, request.prompt.size());
    ASSERT_EQ(outcomes[id].scores.size(), request.score ? request.prompt.size() - 1 : 0);
  }
  ASSERT_TRUE(engine.add(request_of({1}, 1)).ok());  // its tick carries the last frees
  run_all(engine);
  ASSERT_LE(pipeline.live(), 1U + static_cast<unsigned>(kept_max));
  for (const auto& [id, times] : pipeline.frees()) ASSERT_EQ(times, 1) << "sequence " << id;
}

TEST(Engine, RandomWorkloadsKeepEveryRule) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    run_workload(random);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

}  // namespace
}  // namespace tandem::scheduler
