// Random workloads: whatever arrives and whenever, the engine keeps its rules.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_constraint.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::IsEmpty;

struct Asked {
  Request request;
  std::optional<FakeRule> rule;
};

/// One random workload: requests of all kinds arrive over time, some are cancelled, some ticks are
/// refused.
class Workload {
 public:
  explicit Workload(std::mt19937_64& random) : random_(random), pipeline_(pick(1, 5)) {
    std::vector<int> windows = {0};
    if (pick(0, 1) == 0) {
      windows = pick(0, 1) == 0 ? std::vector{0, pick(1, 200)}
                                : std::vector{pick(1, 90), 0, pick(91, 300)};
      windowed_ = true;
    }
    if (pick(0, 1) == 0) {
      windows.insert(windows.begin() + pick(0, 1), FakePipeline::kRecurrent);
      recurrent_ = true;
    }
    if (windows.size() > 1) pipeline_.windows(windows);
    const int least = recurrent_ ? 14 : 12;  // of the longest prompt, and its slot
    if (pick(0, 1) == 0) pipeline_.kv_pages(static_cast<std::uint64_t>(pick(least, 60)));
    if (pick(0, 1) == 0) {
      pipeline_.costs(
          [](const cost::TickLoad& load) { return 0.01 + 0.002 * static_cast<double>(load.rows); });
    }
    if (pick(0, 3) == 0) refuse_some();
    EngineOptions options{.prefill_step_size = pick(1, 300),
                          .mixed_rows = pick(0, 1) * pick(1, 100),
                          .sequences_max = pick(1, 12)};
    if (pick(0, 2) == 0) {
      limit_ = static_cast<std::uint64_t>(pick(0, 1000));
      options.prefix_bytes = limit_ * pipeline_.token_bytes();
    }
    pipeline_.info().pages_shared = sharing_ = windowed_ || pick(0, 3) > 0;
    options.now = [this] { return pipeline_.now(); };
    engine_.emplace(pipeline_, options);
  }

  void run() {
    int arriving = pick(1, 30);
    int steps = 0;
    while (arriving > 0 || engine_->busy()) {
      ASSERT_LT(++steps, 100000) << "a sequence never finishes";
      if (arriving > 0 && pick(0, 2) == 0) {
        --arriving;
        add();
      }
      if (!asked_.empty() && pick(0, 60) == 0) cancel();
      auto events = engine_->step(soon());
      ASSERT_TRUE(events.ok()) << events.error().message;
      collect(*events, outcomes_);
      ASSERT_THAT(pipeline_.broken(), IsEmpty());
      const EngineStats stats = engine_->stats();
      ASSERT_LE(stats.kv_tokens_used + stats.kv_tokens_idle, stats.kv_tokens_capacity);
    }
    check_outcomes();
    check_memory();
  }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  void refuse_some() {
    refuses_ = true;
    pipeline_.refuse([this](const TickEntry&) -> std::optional<FakePipeline::Refusal> {
      if (pick(0, 60) > 0) return std::nullopt;
      return FakePipeline::Refusal{pick(0, pipeline_.stages() - 1),
                                   {ErrorCode::kResourceLimit, "no memory"}};
    });
  }

  /// A prompt that begins with a part of an earlier request and its answer, or is the same.
  std::vector<std::int32_t> follow_up(const std::vector<std::int32_t>& tail) {
    const auto& earlier =
        std::next(asked_.begin(), pick(0, static_cast<int>(asked_.size()) - 1))->second;
    std::vector<std::int32_t> prompt = earlier.request.prompt;
    if (pick(0, 3) == 0) return prompt;
    const auto answer = expected(prompt, pick(0, 10));
    prompt.insert(prompt.end(), answer.begin(), answer.end());
    prompt.resize(static_cast<std::size_t>(pick(1, static_cast<int>(prompt.size()))));
    const std::size_t room = 700 - std::min<std::size_t>(prompt.size(), 699);
    prompt.insert(prompt.end(), tail.begin(),
                  tail.begin() + static_cast<std::ptrdiff_t>(std::min(tail.size(), room)));
    return prompt;
  }

  void add() {
    std::vector<std::int32_t> prompt(static_cast<std::size_t>(pick(1, pick(1, 700))));
    for (std::int32_t& id : prompt) id = pick(0, 999);
    if (!asked_.empty() && pick(0, 1) == 0) prompt = follow_up(prompt);
    Asked asked{request_of(prompt, pick(0, pick(0, 4) == 0 ? 300 : 40)), std::nullopt};
    Request& request = asked.request;
    request.score = pick(0, 3) == 0;
    request.priority = pick(0, 3) == 0 ? pick(-2, 2) : 0;
    request.cache_salt = static_cast<std::uint64_t>(pick(0, 1));
    for (int i = pick(0, 20); i > 0; --i) request.stop_ids.push_back(pick(0, 999));
    if (pick(0, 3) == 0) {
      asked.rule = FakeRule{pick(0, 2), pick(0, 60), pick(0, 5) == 0 ? pick(0, 30) : -1};
      request.constraint = std::make_shared<FakeConstraint>(*asked.rule);
    }
    // The memory may be smaller than a prompt and its answer: that ends with the memory.
    const auto room = static_cast<std::size_t>(engine_->context_max()) - prompt.size();
    request.max_tokens = std::min(request.max_tokens, static_cast<int>(room));
    const auto id = engine_->add(request);
    ASSERT_TRUE(id.ok()) << id.error().message;
    asked_[*id] = asked;
  }

  void cancel() {
    const auto chosen = std::next(asked_.begin(), pick(0, static_cast<int>(asked_.size()) - 1));
    const std::uint64_t id = chosen->first;
    if (outcomes_[id].finish == FinishReason::kNone) cancelled_.insert(id);
    engine_->cancel(id);
  }

  void check_outcomes() {
    for (const auto& [id, asked] : asked_) {
      if (cancelled_.contains(id)) continue;
      const Outcome& outcome = outcomes_[id];
      const Request& request = asked.request;
      ASSERT_NE(outcome.finish, FinishReason::kNone);
      // Refused twice: by chance, or for what a stage lacks since it refused something before.
      if (refuses_ && outcome.error && outcome.error->code != ErrorCode::kInternal) continue;
      const auto [ids, finish] = expected(request, asked.rule);
      ASSERT_EQ(outcome.ids, ids);
      ASSERT_EQ(outcome.finish, finish);
      const bool began = finish != FinishReason::kError || !ids.empty();
      if (!began) continue;
      ASSERT_EQ(outcome.prompt_done, request.prompt.size());
      ASSERT_EQ(outcome.scores.size(), request.score ? request.prompt.size() - 1 : 0);
      for (std::size_t i = 0; i < outcome.scores.size(); ++i) {
        ASSERT_EQ(outcome.scores[i].position, i + 1);
      }
    }
  }

  /// Once a last tick has carried the last operations, every stage holds what the engine believes.
  void check_memory() {
    pipeline_.refuse(nullptr);
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(engine_->add(request_of({1}, 1)).ok());
      run_all(*engine_);
    }
    const EngineStats stats = engine_->stats();
    ASSERT_EQ(stats.running, 0U);
    ASSERT_EQ(stats.kv_tokens_used, 0U);
    // Windows and slots are parts of blocks, which are rounded up.
    ASSERT_LE(stats.kv_tokens_idle, windowed_ || recurrent_ ? (limit_ + 63) / 64 * 64 : limit_);
    ASSERT_TRUE(pipeline_.pages_held().has_value());
    // The page of the last request, which was there a second time, is freed with the next tick.
    const std::uint64_t held = *pipeline_.pages_held() * 64;
    const std::uint64_t last = recurrent_ ? 4 * 64 : 64;  // with its slot
    ASSERT_LE(held, stats.kv_tokens_idle + last);
    // Stages that share pages count fewer than an engine that does not rely on it.
    ASSERT_TRUE(!sharing_ || recurrent_ || held == stats.kv_tokens_idle + 64);
  }

  std::mt19937_64& random_;
  FakePipeline pipeline_;
  std::optional<Engine> engine_;
  std::uint64_t limit_ = std::numeric_limits<std::uint64_t>::max() / 2;
  bool refuses_ = false;
  bool sharing_ = true;
  bool windowed_ = false;
  bool recurrent_ = false;
  std::map<std::uint64_t, Asked> asked_;
  std::map<std::uint64_t, Outcome> outcomes_;
  std::set<std::uint64_t> cancelled_;
};

TEST(Engine, RandomWorkloadsKeepEveryRule) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 400; ++round) {
    Workload(random).run();
    ASSERT_FALSE(testing::Test::HasFailure()) << "round " << round;
  }
}

}  // namespace
}  // namespace tandem::scheduler
