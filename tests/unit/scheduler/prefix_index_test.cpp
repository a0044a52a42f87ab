#include "scheduler/prefix_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <vector>

namespace tandem::scheduler {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr std::uint32_t kAll = 100;

void add(PrefixIndex& index, std::uint64_t id, const Ids& tokens) {
  index.add(id, 0, tokens);
  index.set_usable(id, {0, kAll});
}

TEST(PrefixIndex, TheLongestCommonBeginningIsFound) {
  PrefixIndex index;
  add(index, 1, {5, 6, 7});
  add(index, 2, {5, 6, 8, 9});
  EXPECT_EQ(index.longest(0, Ids{5, 6, 8, 9, 10})->id, 2U);
  EXPECT_EQ(index.longest(0, Ids{5, 6, 8, 9, 10})->length, 4U);
  EXPECT_EQ(index.longest(0, Ids{5, 6, 7})->id, 1U);
  EXPECT_EQ(index.longest(0, Ids{5, 6, 7})->length, 3U);
  EXPECT_FALSE(index.longest(0, Ids{6, 7}).has_value());
  EXPECT_FALSE(index.longest(0, Ids{}).has_value());
}

TEST(PrefixIndex, OtherSaltsShareNothing) {
  PrefixIndex index;
  index.add(1, 7, Ids{5, 6, 7});
  index.set_usable(1, {0, kAll});
  EXPECT_FALSE(index.longest(0, Ids{5, 6, 7}).has_value());
  EXPECT_FALSE(index.longest(8, Ids{5, 6, 7}).has_value());
  EXPECT_EQ(index.longest(7, Ids{5, 6, 7})->id, 1U);
  EXPECT_EQ(index.common(8, Ids{5, 6, 7}), 0U);
}

TEST(PrefixIndex, WhatCannotBeUsedIsPassedOver) {
  PrefixIndex index;
  add(index, 1, {5, 6, 7, 8});
  index.set_usable(1, {0, 1});
  add(index, 2, {5, 6});
  const auto match = index.longest(0, Ids{5, 6, 7, 8});
  EXPECT_EQ(match->id, 2U);
  EXPECT_EQ(match->length, 2U);
  index.set_usable(2, {3, 3});
  EXPECT_EQ(index.longest(0, Ids{5, 6, 7, 8})->length, 1U);
  EXPECT_EQ(index.common(0, Ids{5, 6, 7, 8}), 4U);
}

TEST(PrefixIndex, WhatIsLostOfARunningListIsNotWaitedFor) {
  PrefixIndex index;
  index.add(1, 0, Ids{5, 6, 7, 8}, QueuePosition{0, 3});
  EXPECT_EQ(index.coming(0, Ids{5, 6, 7}, QueuePosition{0, 4})->length, 3U);
  EXPECT_FALSE(index.coming(0, Ids{5, 6, 7}, QueuePosition{0, 3}).has_value());
  index.set_usable(1, {4, 4});
  EXPECT_FALSE(index.coming(0, Ids{5, 6, 7}, QueuePosition{0, 4}).has_value());
}

struct List {
  std::uint64_t salt = 0;
  Ids tokens;
  PrefixIndex::Usable usable;
  std::optional<QueuePosition> rank;
};

/// Both the index and plain lists, changed alike.
class Twin {
 public:
  explicit Twin(std::mt19937_64& random) : random_(random) {}

  void change(std::uint64_t id) {
    List list{pick(0, 1), ids(), {}, std::nullopt};
    if (pick(0, 2) == 0) list.rank = QueuePosition{0, pick(0, 5)};
    const std::uint64_t of = pick(1, id);
    if (pick(0, 3) == 0 && lists_.contains(of)) {
      list = {lists_[of].salt, lists_[of].tokens, {}, std::nullopt};
      list.tokens.resize(pick(0, list.tokens.size()));
      index_.add_prefix(id, of, list.tokens.size());
    } else {
      index_.add(id, list.salt, list.tokens, list.rank);
    }
    lists_[id] = std::move(list);
    const std::uint64_t other = pick(1, id);
    if (!lists_.contains(other)) return;
    List& changed = lists_[other];
    switch (pick(0, 5)) {
      case 0:
        index_.remove(other);
        lists_.erase(other);
        break;
      case 1:
        changed.tokens.resize(pick(0, changed.tokens.size()));
        index_.truncate(other, changed.tokens.size());
        break;
      default:
        changed.usable.most = static_cast<std::uint32_t>(pick(0, 10));
        changed.usable.least = static_cast<std::uint32_t>(pick(0, 2) * pick(0, 4));
        index_.set_usable(other, changed.usable);
    }
  }

  void ask() {
    const Ids prompt = ids();
    const std::uint64_t salt = pick(0, 1);
    const QueuePosition rank{0, pick(0, 6)};
    std::uint32_t longest = 0;
    std::uint32_t coming = 0;
    std::uint32_t common = 0;
    for (const auto& [id, list] : lists_) {
      if (list.salt != salt) continue;
      const std::uint32_t shared = shared_with(list, prompt);
      const std::uint32_t used = std::min(shared, list.usable.most);
      common = std::max(common, shared);
      if (used >= list.usable.least) longest = std::max(longest, used);
      if (list.rank && *list.rank < rank && list.usable.least <= shared) {
        coming = std::max(coming, shared);
      }
    }
    const auto match = index_.longest(salt, prompt);
    ASSERT_EQ(match ? match->length : 0, longest);
    const auto later = index_.coming(salt, prompt, rank);
    ASSERT_EQ(later ? later->length : 0, coming);
    ASSERT_EQ(index_.common(salt, prompt), common);
    ASSERT_EQ(index_.size(), lists_.size());
    if (!match) return;
    const List& list = lists_.at(match->id);
    ASSERT_EQ(list.salt, salt);
    ASSERT_GE(shared_with(list, prompt), match->length);
    ASSERT_LE(list.usable.least, match->length);
    ASSERT_GE(list.usable.most, match->length);
  }

 private:
  std::uint64_t pick(std::uint64_t low, std::uint64_t high) {
    return std::uniform_int_distribution<std::uint64_t>(low, high)(random_);
  }
  Ids ids() {
    Ids out(pick(0, 9));
    for (std::int32_t& id : out) id = static_cast<std::int32_t>(pick(0, 2));
    return out;
  }
  static std::uint32_t shared_with(const List& list, const Ids& prompt) {
    const auto end =
        std::mismatch(list.tokens.begin(), list.tokens.end(), prompt.begin(), prompt.end());
    return static_cast<std::uint32_t>(end.first - list.tokens.begin());
  }

  std::mt19937_64& random_;
  PrefixIndex index_;
  std::map<std::uint64_t, List> lists_;
};

TEST(PrefixIndex, FindsWhatComparingWithEachFinds) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 1000; ++round) {
    Twin twin(random);
    for (std::uint64_t id = 1; id <= 40; ++id) {
      twin.change(id);
      twin.ask();
      ASSERT_FALSE(testing::Test::HasFatalFailure());
    }
  }
}

}  // namespace
}  // namespace tandem::scheduler
