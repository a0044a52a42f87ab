// Whose prompt is computed when: short ones soon, and everyone within a bound that follows from
// those before it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "scheduler/engine.h"
#include "scheduler/prompt_queue.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::IsEmpty;
using Ids = std::vector<std::int32_t>;

std::vector<std::size_t> order_of(PromptQueue queue) {
  std::vector<std::size_t> order;
  while (const auto turn = queue.next()) order.push_back(turn->index);
  return order;
}

TEST(PromptQueue, ShortestFirstThenByArrival) {
  PromptQueue queue;
  EXPECT_THAT(order_of(queue), IsEmpty());
  for (const std::uint32_t pending : {9U, 5U, 5U, 7U}) {
    queue.add({.index = order_of(queue).size(), .pending = pending});
  }
  EXPECT_EQ(order_of(queue), (std::vector<std::size_t>{1, 2, 3, 0}));
}

TEST(PromptQueue, KeepsPagesForThoseBefore) {
  PromptQueue queue;
  queue.add({.index = 0, .pending = 9, .pages = 3});
  queue.add({.index = 1, .pending = 5, .pages = 2});
  queue.add({.index = 2, .pending = 7, .pages = 2});
  EXPECT_EQ(queue.next()->kept_pages, 3U);
  queue.took(3, 1);
  EXPECT_EQ(queue.next()->kept_pages, 4U);
  queue.took(7, 2);
  EXPECT_EQ(queue.next()->kept_pages, 0U);
}

TEST(PromptQueue, PatienceEndsWithinATick) {
  PromptQueue queue;
  queue.add({.index = 0, .pending = 9000});
  queue.add({.index = 1, .pending = kPatience});
  queue.add({.index = 2, .pending = 8000});
  EXPECT_EQ(queue.next()->index, 1U);
  queue.took(kPatience, 0);
  EXPECT_EQ(queue.next()->index, 0U);
}

/// What of each prompt went into ticks, and what of others since it came.
class Account {
 public:
  struct Prompt {
    std::int64_t priority = 0;
    std::uint64_t tokens = 0;
    std::uint64_t done = 0;
    std::uint64_t before = 0;  // tokens of those that are served first by the order of service
    std::uint64_t others = 0;  // computed of others
    std::optional<std::uint64_t> others_at_start = {};
    std::uint64_t others_at_end = 0;
  };

  void arrive(std::uint64_t id, std::int64_t priority, std::uint64_t tokens) {
    Prompt prompt{.priority = priority, .tokens = tokens};
    for (auto& [other, waits] : prompts_) {
      if (waits.done == waits.tokens) continue;
      if (waits.priority <= priority) prompt.before += waits.tokens - waits.done;
      if (waits.priority > priority) waits.before += tokens;
    }
    prompts_[id] = prompt;
  }

  void take(const Tick& tick) {
    std::uint64_t rows = 0;
    for (const TickEntry& entry : tick.entries) {
      Prompt& prompt = prompts_.at(entry.sequence);
      if (entry.position >= prompt.tokens) continue;  // a decode
      if (!prompt.others_at_start) prompt.others_at_start = prompt.others;
      prompt.done += entry.tokens.size();
      rows += entry.tokens.size();
      prompt.others_at_end = prompt.others;
    }
    rows_max_ = std::max(rows_max_, rows);
    for (auto& [id, prompt] : prompts_) {
      const auto own = std::find_if(tick.entries.begin(), tick.entries.end(),
                                    [&](const TickEntry& entry) { return entry.sequence == id; });
      if (prompt.done == prompt.tokens) continue;
      prompt.others += rows - (own == tick.entries.end() ? 0 : own->tokens.size());
    }
  }

  void check() const {
    const auto slack = static_cast<std::uint64_t>(kPatience) + rows_max_;
    for (const auto& [id, prompt] : prompts_) {
      ASSERT_EQ(prompt.done, prompt.tokens);
      ASSERT_LE(*prompt.others_at_start, prompt.before + slack) << "prompt " << id;
      ASSERT_LE(prompt.others_at_end, prompt.before + prompt.tokens + slack) << "prompt " << id;
    }
  }

  const std::map<std::uint64_t, Prompt>& prompts() const { return prompts_; }

 private:
  std::map<std::uint64_t, Prompt> prompts_;
  std::uint64_t rows_max_ = 0;
};

/// An engine whose ticks are accounted for. Prompts share no beginnings.
class Watched {
 public:
  Watched(int stages, EngineOptions options) : pipeline_(stages) {
    pipeline_.watch([this](const Tick& tick) -> std::optional<Error> {
      account_.take(tick);
      return std::nullopt;
    });
    options.now = [this] { return pipeline_.now(); };
    engine_.emplace(pipeline_, options);
  }

  std::uint64_t add(std::size_t tokens, int max_tokens, int priority = 0) {
    Request request = request_of(Ids(tokens, 7), max_tokens);
    request.prompt.front() = next_++ % 1000;
    request.cache_salt = static_cast<std::uint64_t>(next_);
    request.priority = priority;
    const auto id = engine_->add(request);
    EXPECT_TRUE(id.ok());
    account_.arrive(*id, priority, tokens);
    return *id;
  }

  void step() {
    ASSERT_TRUE(engine_->step(soon()).ok());
    ASSERT_THAT(pipeline_.broken(), IsEmpty());
  }

  Engine& engine() { return *engine_; }
  const Account& account() const { return account_; }

 private:
  FakePipeline pipeline_;
  std::optional<Engine> engine_;
  Account account_;
  std::int32_t next_ = 0;
};

TEST(Fairness, AShortPromptDoesNotWaitForALongOne) {
  Watched watched(1, {.mixed_rows = 8});
  watched.add(5, 4000);  // a stream
  watched.step();
  watched.add(3000, 1);
  for (int i = 0; i < 20; ++i) watched.step();
  const std::uint64_t late = watched.add(80, 1);
  for (int i = 0; i < 10; ++i) watched.step();
  const Account::Prompt& prompt = watched.account().prompts().at(late);
  EXPECT_EQ(prompt.done, 80U);
  EXPECT_EQ(prompt.others, 0U);
}

TEST(Fairness, EndlessShortPromptsLeaveALongOneHalf) {
  Watched watched(1, {.mixed_rows = 8});
  watched.add(5, 4000);
  watched.step();
  const std::uint64_t late = watched.add(2000, 1);
  int steps = 0;
  while (watched.account().prompts().at(late).done < 2000) {
    ASSERT_LT(++steps, 1000);
    watched.add(8, 1);  // as much as a tick takes
    watched.step();
  }
  // Half of the ticks, and what its patience costs.
  EXPECT_NEAR(steps, 2 * 2000 / 8 + kPatience / 8, 4);
}

TEST(Fairness, EveryPromptBeginsAndEndsWithinItsBound) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  for (int round = 0; round < 100; ++round) {
    Watched watched(
        pick(1, 4),
        {.prefill_step_size = pick(1, 400), .mixed_rows = pick(1, 60), .sequences_max = 1000});
    const int longest = pick(1, 2500);
    const int hurry = pick(0, 3);
    int arriving = pick(1, 60);
    while (arriving > 0 || watched.engine().busy()) {
      for (int burst = pick(0, hurry) == 0 ? pick(1, 6) : 0; burst > 0 && arriving > 0; --burst) {
        --arriving;
        watched.add(static_cast<std::size_t>(pick(1, pick(1, longest))), pick(1, 30),
                    pick(0, 4) == 0 ? pick(-1, 1) : 0);
      }
      watched.step();
      ASSERT_FALSE(testing::Test::HasFatalFailure());
    }
    watched.account().check();
    ASSERT_FALSE(testing::Test::HasFatalFailure()) << "round " << round;
  }
}

}  // namespace
}  // namespace tandem::scheduler
