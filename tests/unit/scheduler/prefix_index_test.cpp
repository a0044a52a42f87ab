#include "scheduler/prefix_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <utility>
#include <vector>

namespace tandem::scheduler {
namespace {

using Ids = std::vector<std::int32_t>;

std::uint32_t all(std::uint64_t, std::uint32_t common) { return common; }

TEST(PrefixIndex, TheLongestCommonBeginningIsFound) {
  PrefixIndex index;
  index.add(1, 0, {5, 6, 7});
  index.add(2, 0, {5, 6, 8, 9});
  EXPECT_EQ(index.best(0, Ids{5, 6, 8, 9, 10}, all)->id, 2U);
  EXPECT_EQ(index.best(0, Ids{5, 6, 8, 9, 10}, all)->length, 4U);
  EXPECT_EQ(index.best(0, Ids{5, 6, 7}, all)->id, 1U);
  EXPECT_EQ(index.best(0, Ids{5, 6, 7}, all)->length, 3U);
  EXPECT_FALSE(index.best(0, Ids{6, 7}, all).has_value());
  EXPECT_FALSE(index.best(0, Ids{}, all).has_value());
}

TEST(PrefixIndex, OtherSaltsShareNothing) {
  PrefixIndex index;
  index.add(1, 7, {5, 6, 7});
  EXPECT_FALSE(index.best(0, Ids{5, 6, 7}, all).has_value());
  EXPECT_FALSE(index.best(8, Ids{5, 6, 7}, all).has_value());
  EXPECT_EQ(index.best(7, Ids{5, 6, 7}, all)->id, 1U);
}

TEST(PrefixIndex, WhatCannotBeUsedIsPassedOver) {
  PrefixIndex index;
  index.add(1, 0, {5, 6, 7, 8});
  index.add(2, 0, {5, 6});
  const auto match = index.best(0, Ids{5, 6, 7, 8}, [](std::uint64_t id, std::uint32_t common) {
    return id == 1 ? 1 : common;
  });
  EXPECT_EQ(match->id, 2U);
  EXPECT_EQ(match->length, 2U);
}

/// Compares with the plain way after random changes.
void check_round(std::mt19937_64& random) {
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const auto ids = [&] {
    Ids out(static_cast<std::size_t>(pick(0, 9)));
    for (std::int32_t& id : out) id = pick(0, 2);
    return out;
  };
  PrefixIndex index;
  struct List {
    std::uint64_t salt;
    Ids tokens;
    std::uint32_t usable;
  };
  std::map<std::uint64_t, List> lists;
  for (std::uint64_t id = 1; id <= 40; ++id) {
    const List list{static_cast<std::uint64_t>(pick(0, 1)), ids(),
                    static_cast<std::uint32_t>(pick(0, 9))};
    index.add(id, list.salt, list.tokens);
    lists[id] = list;
    const auto other = static_cast<std::uint64_t>(pick(1, static_cast<int>(id)));
    if (!lists.contains(other)) continue;
    if (pick(0, 3) == 0) {
      index.remove(other);
      lists.erase(other);
    } else if (pick(0, 3) == 0) {
      Ids& tokens = lists[other].tokens;
      tokens.resize(static_cast<std::size_t>(pick(0, static_cast<int>(tokens.size()))));
      index.truncate(other, tokens.size());
    }
  }
  ASSERT_EQ(index.size(), lists.size());
  const auto usable = [&](std::uint64_t id, std::uint32_t common) {
    return std::min(common, lists.at(id).usable);
  };
  for (int i = 0; i < 20; ++i) {
    const Ids prompt = ids();
    const auto salt = static_cast<std::uint64_t>(pick(0, 1));
    std::uint32_t longest = 0;
    const auto common = [&](const Ids& tokens) {
      const auto end = std::mismatch(tokens.begin(), tokens.end(), prompt.begin(), prompt.end());
      return static_cast<std::uint32_t>(end.first - tokens.begin());
    };
    for (const auto& [id, list] : lists) {
      if (list.salt == salt) longest = std::max(longest, usable(id, common(list.tokens)));
    }
    const auto match = index.best(salt, prompt, usable);
    ASSERT_EQ(match ? match->length : 0, longest);
    if (!match) continue;
    ASSERT_EQ(lists.at(match->id).salt, salt);
    ASSERT_GE(common(lists.at(match->id).tokens), match->length);
  }
}

TEST(PrefixIndex, FindsWhatComparingWithEachFinds) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 1000; ++round) {
    check_round(random);
    ASSERT_FALSE(testing::Test::HasFatalFailure());
  }
}

}  // namespace
}  // namespace tandem::scheduler
