// Who holds KV where windows let pages go: told the same, a real cache takes every operation.

#include "scheduler/kv_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <vector>

#include "cache/kv_cache.h"

namespace tandem::scheduler {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr kernels::KvSpec kSpec{1, 4, 4, false, DType::kBF16};

/// A window that stands for a recurrent layer.
constexpr std::uint32_t kSlot = 0xFFFFFFFF;
constexpr kernels::StateSpec kState{3, 16, DType::kBF16, 2, 8, 16};

kernels::LayerKept kept_by(const StateRule& rule) {
  if (rule.recurrent()) return kState;
  return kSpec;
}

/// Layers with these windows (0: none) on one rank that has room for `blocks` pages of all.
KvLimits limits_of(const std::vector<std::uint32_t>& windows, std::uint64_t blocks,
                   std::uint64_t idle_blocks) {
  const std::uint64_t page = kernels::kv_page_bytes(kSpec);
  KvShape shape;
  shape.ranks.push_back({blocks * windows.size() * page, {}});
  for (const std::uint32_t window : windows) {
    const auto kind = window == 0 ? StateKind::kPaged : StateKind::kWindowed;
    shape.groups.push_back(window == kSlot ? StateRule{StateKind::kRecurrent, 0}
                                           : StateRule{kind, window});
    shape.ranks[0].page_bytes.push_back(kernels::page_bytes(kept_by(shape.groups.back())));
  }
  return {.shape = shape, .idle_bytes = idle_blocks * windows.size() * page};
}

/// A KvMemory and the cache of a stage. Keeps the tokens of everyone, so that a fork can be held
/// against the prompt that it is for.
class Stage {
 public:
  explicit Stage(const KvLimits& limits)
      : memory(limits),
        shape_(limits.shape),
        cache_(layers_of(limits.shape), limits.shape.ranks[0].bytes_max, cache::Storage::kPages) {}

  /// False when the prompt waits for another one.
  bool begin(std::uint64_t id, const Ids& prompt) {
    const KvMemory::Match match = memory.match(0, prompt, {0, id});
    if (match.soon()) {
      memory.wait_for(match);
      return false;
    }
    memory.begin(id, 0, prompt, {0, id}, match);
    wanted_[id] = prompt;
    found = match.length;
    return true;
  }
  void append(std::uint64_t id, std::uint32_t count) {
    appends_.push_back({id, memory.book().length(id), count});
    memory.append(id, count);
  }
  void end(std::uint64_t id) { memory.end(id, wanted_[id]); }

  void tick() {
    const std::vector<StateOp> ops = memory.take_ops();
    for (const StateOp& op : ops) follow(op);
    for (const cache::Append& each : appends_) {
      Ids& has = has_[each.sequence];
      ASSERT_EQ(has.size(), each.position);
      const Ids& wanted = wanted_.at(each.sequence);
      ASSERT_TRUE(std::equal(has.begin(), has.end(), wanted.begin()));
      has.assign(wanted.begin(), wanted.begin() + each.position + each.count);
    }
    const Status status = cache_.apply(ops, appends_);
    ASSERT_TRUE(status.ok()) << status.error().message;
    appends_.clear();
    cache_.begin_tick();
    ASSERT_EQ(shape_.bytes(memory.book().held()), cache_.bytes_in_use());
    ASSERT_EQ(memory.book().sequences(), cache_.sequences());
  }

  std::uint32_t pending(std::uint64_t id) const {
    return static_cast<std::uint32_t>(wanted_.at(id).size()) - memory.book().length(id);
  }

  KvMemory memory;
  std::uint32_t found = 0;  // of the last prompt that began

 private:
  static std::vector<cache::LayerKv> layers_of(const KvShape& shape) {
    std::vector<cache::LayerKv> layers;
    for (const StateRule& rule : shape.groups) {
      layers.push_back({kept_by(rule), static_cast<int>(rule.window)});
    }
    return layers;
  }
  void follow(const StateOp& op) {
    if (op.kind == StateOp::Kind::kFree) {
      has_.erase(op.sequence);
    } else if (op.kind == StateOp::Kind::kRewind) {
      has_.at(op.sequence).resize(op.length);
    } else {
      const Ids from = has_.at(op.source);
      has_[op.sequence].assign(from.begin(), from.begin() + op.length);
    }
  }

  KvShape shape_;
  cache::KvCache cache_;
  std::vector<cache::Append> appends_;
  std::map<std::uint64_t, Ids> wanted_;
  std::map<std::uint64_t, Ids> has_;
};

Ids tokens(std::size_t count, std::int32_t seed) {
  Ids ids(count);
  for (std::size_t i = 0; i < count; ++i) {
    ids[i] = (seed * 131 + static_cast<std::int32_t>(i) * 17) % 1000;
  }
  return ids;
}

Ids joined(Ids first, const Ids& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

TEST(KvMemory, TheEndOfAPromptIsKeptForAnotherAnswer) {
  Stage stage(limits_of({0, 100}, 1000, 1000));
  const Ids prompt = tokens(500, 3);
  ASSERT_TRUE(stage.begin(1, prompt));
  stage.append(1, 500);
  stage.tick();
  EXPECT_EQ(stage.memory.match(0, joined(prompt, {1}), {0, 9}).length, 500U);
  // As an engine does, with what it draws.
  KvMemory& memory = stage.memory;
  for (int i = 0; i < 300; ++i) {
    memory.append(1, 1);
    memory.take_ops();
  }
  EXPECT_EQ(memory.match(0, joined(prompt, {1}), {0, 9}).length, 500U);
  EXPECT_EQ(memory.match(0, tokens(499, 3), {0, 9}).length, 498U) << "in the last 64 tokens";
  EXPECT_EQ(memory.match(0, tokens(300, 3), {0, 9}).source, 0U) << "its window is gone";
}

TEST(KvMemory, APrefixIsKnownOnceASecondPromptPartsFromIt) {
  Stage stage(limits_of({0, 100}, 1000, 1000));
  const Ids system = tokens(700, 2);
  std::vector<std::uint32_t> found;
  for (std::uint64_t id = 1; id <= 4; ++id) {
    ASSERT_TRUE(stage.begin(id, joined(system, tokens(400, 10 + static_cast<int>(id)))));
    found.push_back(stage.found);
    while (stage.pending(id) > 0) {
      const std::uint32_t stop = stage.memory.tokens_to_stop(id);
      stage.append(id, stop == 0 ? stage.pending(id) : stop);
      stage.tick();
      ASSERT_FALSE(testing::Test::HasFatalFailure());
    }
    stage.end(id);
  }
  EXPECT_EQ(found, (std::vector<std::uint32_t>{0, 0, 700, 700}));
}

TEST(KvMemory, WhoWaitsForAPrefixFindsItWhereItEnds) {
  for (const std::uint64_t idle : {0U, 1000U}) {
    Stage stage(limits_of({0, 100}, 1000, idle));
    const Ids system = tokens(700, 2);
    ASSERT_TRUE(stage.begin(1, joined(system, tokens(400, 11))));
    EXPECT_EQ(stage.memory.tokens_to_stop(1), 0U);
    ASSERT_FALSE(stage.begin(2, joined(system, tokens(400, 12))));
    ASSERT_EQ(stage.memory.tokens_to_stop(1), 700U);
    stage.append(1, 700);
    stage.tick();
    ASSERT_TRUE(stage.begin(2, joined(system, tokens(400, 12))));
    EXPECT_EQ(stage.found, 700U);
    stage.append(1, 400);
    stage.append(2, 400);
    stage.tick();
  }
}

TEST(KvMemory, AStateServesWhereItIsAndThatIsBeforeTheEndOfAPrompt) {
  Stage stage(limits_of({0, kSlot}, 1000, 1000));
  const Ids prompt = tokens(500, 3);
  ASSERT_TRUE(stage.begin(1, prompt));
  ASSERT_EQ(stage.memory.tokens_to_stop(1), 448U);
  stage.append(1, 448);
  stage.tick();
  stage.append(1, 52);
  stage.tick();
  // As an engine does, with what it draws.
  KvMemory& memory = stage.memory;
  for (int i = 0; i < 30; ++i) {
    memory.append(1, 1);
    memory.take_ops();
  }
  EXPECT_EQ(memory.match(0, joined(prompt, {1}), {0, 9}).length, 448U);
  EXPECT_EQ(memory.match(0, prompt, {0, 9}).length, 448U) << "asked again";
  EXPECT_EQ(memory.match(0, tokens(449, 3), {0, 9}).length, 448U);
  EXPECT_EQ(memory.match(0, tokens(448, 3), {0, 9}).source, 0U) << "a token has to be left";
}

TEST(KvMemory, AShortPromptIsNotCutForASnapshot) {
  Stage stage(limits_of({0, kSlot}, 1000, 1000));
  ASSERT_TRUE(stage.begin(1, tokens(128, 3)));
  EXPECT_EQ(stage.memory.tokens_to_stop(1), 0U);
}

TEST(KvMemory, ALongPromptCanBeGoneOnFromPlacesOnItsWay) {
  for (const std::size_t length : {10'000U, 100'000U}) {
    Stage stage(limits_of({0, kSlot}, 10'000, 10'000));
    const Ids prompt = tokens(length, 3);
    ASSERT_TRUE(stage.begin(1, prompt));
    while (stage.pending(1) > 0) {
      const std::uint32_t stop = stage.memory.tokens_to_stop(1);
      stage.append(1, std::min(stop == 0 ? 2048 : stop, stage.pending(1)));
      stage.tick();
    }
    stage.end(1);
    const std::uint64_t slots = stage.memory.book().held()[1];
    EXPECT_EQ(slots, length == 10'000U ? 3U : 9U) << "those, one near the end and the end";
    const std::uint32_t apart = length == 10'000U ? 4096 : 12'480;
    ASSERT_TRUE(stage.begin(2, joined(tokens(apart + 300, 3), tokens(10, 4))));
    EXPECT_EQ(stage.found, apart);
  }
}

TEST(KvMemory, WhoGoesOnFromAnEndedSequenceTakesItsSlotOver) {
  Stage stage(limits_of({0, kSlot}, 1000, 1000));
  const Ids first = tokens(200, 3);
  ASSERT_TRUE(stage.begin(1, first));
  stage.append(1, 192);
  stage.tick();
  stage.append(1, 8);
  stage.tick();
  stage.end(1);
  const std::uint64_t slots = stage.memory.book().held()[1];
  ASSERT_EQ(slots, 2U) << "the one it ended with, and the snapshot";
  ASSERT_TRUE(stage.begin(2, joined(first, tokens(20, 4))));
  EXPECT_EQ(stage.found, 200U);
  stage.append(2, 20);
  stage.tick();
  EXPECT_EQ(stage.memory.book().held()[1], slots);
}

class Walk {
 public:
  explicit Walk(std::mt19937_64& random)
      : random_(random),
        limits_(limits_of(windows(), pick(20, 60), pick(0, 3) * pick(0, 20))),
        stage_(limits_) {
    for (std::int32_t i = 0; i < 3; ++i) bases_.push_back(tokens(pick(100, 500), i));
  }

  void tick() {
    if (pick(0, 2) == 0) begin();
    for (auto it = running_.begin(); it != running_.end();) {
      const std::uint64_t id = *it;
      const bool ends = stage_.pending(id) == 0 || pick(0, 30) == 0 || !grow(id);
      if (ends) stage_.end(id);
      it = ends ? running_.erase(it) : std::next(it);
    }
    stage_.tick();
    ASSERT_LE(limits_.shape.bytes(stage_.memory.book().held()), limits_.shape.ranks[0].bytes_max);
  }

 private:
  std::uint64_t pick(std::uint64_t low, std::uint64_t high) {
    return std::uniform_int_distribution<std::uint64_t>(low, high)(random_);
  }
  std::vector<std::uint32_t> windows() {
    std::vector<std::uint32_t> windows = {0, static_cast<std::uint32_t>(pick(1, 100))};
    if (pick(0, 1) == 0) windows.push_back(static_cast<std::uint32_t>(pick(101, 200)));
    if (pick(0, 1) == 0) windows.push_back(kSlot);
    std::shuffle(windows.begin(), windows.end(), random_);
    return windows;
  }
  void begin() {
    Ids prompt = bases_[pick(0, 2)];
    prompt.resize(pick(1, prompt.size()));
    prompt = joined(prompt, tokens(pick(1, 300), static_cast<std::int32_t>(pick(3, 9))));
    // Whoever begins is going to need a slot, and a page, of its own.
    const auto& shape = limits_.shape;
    if (!stage_.memory.fits(shape.places(kPageTokens))) return;
    if (stage_.begin(next_, prompt)) running_.push_back(next_);
    ++next_;
  }
  /// False when there is no memory for more tokens.
  bool grow(std::uint64_t id) {
    std::uint64_t count = pick(1, stage_.pending(id));
    const std::uint32_t stop = stage_.memory.tokens_to_stop(id);
    if (stop > 0) count = std::min<std::uint64_t>(count, stop);
    if (stage_.memory.free_blocks() < pages_of(count) + 2) return false;
    stage_.append(id, static_cast<std::uint32_t>(count));
    return true;
  }

  std::mt19937_64& random_;
  KvLimits limits_;
  Stage stage_;
  std::vector<Ids> bases_;
  std::vector<std::uint64_t> running_;
  std::uint64_t next_ = 1;
};

TEST(KvMemory, WhateverHappensTheStageHoldsWhatIsBelieved) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    Walk walk(random);
    for (int tick = 0; tick < 100; ++tick) {
      walk.tick();
      ASSERT_FALSE(testing::Test::HasFatalFailure()) << "round " << round << ", tick " << tick;
    }
  }
}

}  // namespace
}  // namespace tandem::scheduler
