#include "cache/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace tandem::cache {
namespace {

using Kind = StateOp::Kind;
constexpr std::uint32_t kPage = kPageTokens;

const std::vector<LayerKv> kLayers = {
    {kernels::KvSpec{2, 16, 16, false, DType::kF32}, 0},
    {kernels::KvSpec{1, 48, 32, true, DType::kBF16}, 0},
};

std::uint64_t page_bytes(std::size_t layer) { return kernels::page_bytes(kLayers[layer].kept); }
std::uint64_t block_bytes() { return page_bytes(0) + page_bytes(1); }

class Cache : public testing::Test {
 protected:
  Status apply(std::vector<StateOp> ops, std::vector<Append> appends) {
    const Status status = cache_.apply(ops, appends);
    const Status whole = cache_.check_integrity();
    EXPECT_TRUE(whole.ok()) << whole.error().message;
    return status;
  }
  std::uint64_t blocks() const { return cache_.bytes_in_use() / block_bytes(); }
  std::byte& byte(std::uint64_t sequence, std::size_t layer, std::uint32_t position) {
    return cache_.layers(sequence)[layer].pages.at(position / kPage)[position % kPage];
  }

  KvCache cache_{kLayers, 8 * block_bytes(), Storage::kPages};
};

TEST_F(Cache, AccountsForWholeBlocksOfAllLayers) {
  EXPECT_EQ(cache_.block_bytes(), block_bytes());
  EXPECT_EQ(cache_.states(), (std::vector{StateGroup{StateKind::kPaged, 0, block_bytes()}}));
  EXPECT_EQ(cache_.bytes_in_use(), 0U);
  ASSERT_TRUE(apply({}, {{1, 0, 1}}).ok());
  EXPECT_EQ(blocks(), 1U);
  ASSERT_TRUE(apply({}, {{1, 1, kPage - 1}}).ok());
  EXPECT_EQ(blocks(), 1U);
  ASSERT_TRUE(apply({}, {{1, kPage, 1}}).ok());
  EXPECT_EQ(blocks(), 2U);
  EXPECT_EQ(cache_.length(1), kPage + 1);
  ASSERT_TRUE(apply({{Kind::kFree, 1, 0, 0}}, {}).ok());
  EXPECT_EQ(cache_.bytes_in_use(), 0U);
  EXPECT_EQ(cache_.length(1), std::nullopt);
}

TEST_F(Cache, PagesOfLayersDoNotOverlapAndAreAligned) {
  ASSERT_TRUE(apply({}, {{1, 0, 2 * kPage}}).ok());
  std::vector<std::pair<std::byte*, std::byte*>> spans;
  for (std::size_t layer = 0; layer < 2; ++layer) {
    for (std::byte* page : cache_.layers(1)[layer].pages) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(page) % 64, 0U);
      spans.emplace_back(page, page + page_bytes(layer));
    }
  }
  std::sort(spans.begin(), spans.end());
  for (std::size_t i = 1; i < spans.size(); ++i) EXPECT_LE(spans[i - 1].second, spans[i].first);
}

TEST_F(Cache, TheLimitIsExactAndNothingChangesBeyondIt) {
  ASSERT_TRUE(apply({}, {{1, 0, 8 * kPage}}).ok());
  const Status over = apply({}, {{1, 8 * kPage, 1}});
  ASSERT_FALSE(over.ok());
  EXPECT_EQ(over.error().code, ErrorCode::kResourceLimit);
  EXPECT_EQ(cache_.length(1), 8 * kPage);
  EXPECT_FALSE(apply({}, {{2, 0, 1}}).ok());
  EXPECT_EQ(cache_.sequences(), 1U);
  EXPECT_TRUE(apply({{Kind::kFree, 1, 0, 0}}, {{2, 0, 8 * kPage}}).ok()) << "freed first";
  EXPECT_FALSE(apply({}, {{3, 0, 0xffffffff}}).ok());
}

TEST_F(Cache, PositionsFollowEachOther) {
  EXPECT_FALSE(apply({}, {{1, 5, 1}}).ok()) << "unknown sequence";
  ASSERT_TRUE(apply({}, {{1, 0, 3}}).ok());
  for (const std::uint32_t wrong : {0U, 2U, 4U}) {
    const Status status = apply({}, {{1, wrong, 1}});
    ASSERT_FALSE(status.ok()) << wrong;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(apply({}, {{1, 3, 0}}).ok()) << "no tokens";
  EXPECT_FALSE(apply({}, {{1, 3, 1}, {1, 4, 1}}).ok()) << "twice in a tick";
  EXPECT_EQ(cache_.length(1), 3U);
}

TEST_F(Cache, AFailedTickUndoesItsOperations) {
  ASSERT_TRUE(apply({}, {{1, 0, 70}}).ok());
  EXPECT_FALSE(apply({{Kind::kFork, 2, 1, 10}, {Kind::kFree, 1, 0, 0}}, {{2, 9, 1}}).ok());
  EXPECT_EQ(cache_.length(1), 70U);
  EXPECT_EQ(cache_.length(2), std::nullopt);
  EXPECT_EQ(blocks(), 2U);
}

TEST_F(Cache, OperationsCheckTheirSequences) {
  ASSERT_TRUE(apply({}, {{1, 0, 10}, {2, 0, 5}}).ok());
  EXPECT_TRUE(apply({{Kind::kFree, 77, 0, 0}}, {}).ok()) << "a stage may never have seen it";
  EXPECT_FALSE(apply({{Kind::kRewind, 77, 0, 1}}, {}).ok());
  EXPECT_FALSE(apply({{Kind::kRewind, 1, 0, 11}}, {}).ok());
  EXPECT_FALSE(apply({{Kind::kFork, 2, 1, 5}}, {}).ok()) << "exists";
  EXPECT_FALSE(apply({{Kind::kFork, 3, 77, 5}}, {}).ok());
  EXPECT_FALSE(apply({{Kind::kFork, 3, 1, 11}}, {}).ok());
  EXPECT_FALSE(apply({{Kind::kFork, 3, 1, 0}}, {}).ok());
  EXPECT_FALSE(apply({{Kind::kFork, 1, 1, 5}}, {}).ok());
  EXPECT_FALSE(apply({{static_cast<Kind>(9), 1, 0, 0}}, {}).ok());
  EXPECT_TRUE(apply({{Kind::kRewind, 1, 0, 0}}, {{1, 0, 3}}).ok());
}

TEST_F(Cache, SharedPrefixesCostNothingUntilOneIsWritten) {
  ASSERT_TRUE(apply({}, {{1, 0, kPage + 10}}).ok());
  byte(1, 0, kPage + 9) = std::byte{42};
  ASSERT_TRUE(apply({{Kind::kFork, 2, 1, kPage + 10}}, {}).ok());
  EXPECT_EQ(blocks(), 2U);
  EXPECT_EQ(&byte(2, 1, 0), &byte(1, 1, 0));
  ASSERT_TRUE(apply({}, {{2, kPage + 10, 1}}).ok());
  EXPECT_EQ(blocks(), 3U) << "the partial block was copied, the full one was not";
  EXPECT_EQ(&byte(2, 1, 0), &byte(1, 1, 0));
  EXPECT_NE(&byte(2, 0, kPage), &byte(1, 0, kPage));
  EXPECT_EQ(byte(2, 0, kPage + 9), std::byte{42});
  byte(2, 0, kPage + 9) = std::byte{7};
  EXPECT_EQ(byte(1, 0, kPage + 9), std::byte{42});
  ASSERT_TRUE(apply({}, {{1, kPage + 10, 1}}).ok());
  EXPECT_EQ(blocks(), 3U) << "the other one owns its block alone now";
}

TEST_F(Cache, AFullSharedBlockIsNeverCopied) {
  ASSERT_TRUE(apply({}, {{1, 0, kPage}}).ok());
  ASSERT_TRUE(apply({{Kind::kFork, 2, 1, kPage}}, {{2, kPage, 1}}).ok());
  EXPECT_EQ(blocks(), 2U);
}

TEST_F(Cache, APrefixOutlivesItsSource) {
  ASSERT_TRUE(apply({}, {{1, 0, 20}}).ok());
  byte(1, 0, 3) = std::byte{9};
  ASSERT_TRUE(apply({{Kind::kFork, 2, 1, 10}, {Kind::kFree, 1, 0, 0}}, {{1, 0, 5}}).ok());
  EXPECT_EQ(byte(2, 0, 3), std::byte{9});
  EXPECT_EQ(byte(1, 0, 3), std::byte{0}) << "a new sequence begins with zeros";
  EXPECT_EQ(blocks(), 2U);
}

TEST_F(Cache, NewBlocksHoldZerosEvenWhenUsedBefore) {
  ASSERT_TRUE(apply({}, {{1, 0, 5}}).ok());
  std::memset(cache_.layers(1)[0].pages[0], 0xff, page_bytes(0));
  ASSERT_TRUE(apply({{Kind::kFree, 1, 0, 0}}, {}).ok());
  ASSERT_TRUE(apply({}, {{2, 0, 5}}).ok());
  for (std::size_t i = 0; i < page_bytes(0); ++i) {
    ASSERT_EQ(cache_.layers(2)[0].pages[0][i], std::byte{0}) << i;
  }
}

TEST(PageCache, WhatIsKeptForLaterCountsInTheBudget) {
  KvCache cache(kLayers, 4 * block_bytes() + 1, Storage::kPages);
  const auto apply = [&](std::vector<StateOp> ops, std::vector<Append> appends) {
    return cache.apply(ops, appends).ok();
  };
  const auto four_blocks = static_cast<std::uint32_t>(4 * kPageTokens);
  ASSERT_TRUE(apply({}, {{1, 0, four_blocks}}));
  // Makes the new blocks before the old ones go: eight at once, of which four stay.
  ASSERT_TRUE(apply({{Kind::kFree, 1, 0, 0}}, {{2, 0, four_blocks}}));
  EXPECT_EQ(cache.bytes_held(), 4 * block_bytes());
  ASSERT_TRUE(apply({{Kind::kFree, 2, 0, 0}}, {{3, 0, 1}}));
  EXPECT_EQ(cache.bytes_in_use(), block_bytes());
  EXPECT_EQ(cache.bytes_held(), 4 * block_bytes());
  ASSERT_TRUE(apply({{Kind::kFree, 3, 0, 0}}, {}));
  EXPECT_EQ(cache.bytes_in_use(), 0U);
  EXPECT_EQ(cache.bytes_held(), 4 * block_bytes());
  EXPECT_TRUE(cache.check_integrity().ok());
}

/// The first layer sees 100 tokens, the second all.
class WindowedCache : public testing::Test {
 protected:
  bool apply(std::vector<StateOp> ops, std::vector<Append> appends) {
    cache_.begin_tick();
    const Status status = cache_.apply(ops, appends);
    const Status whole = cache_.check_integrity();
    EXPECT_TRUE(whole.ok()) << whole.error().message;
    return status.ok();
  }
  std::size_t pages(std::uint64_t sequence, std::size_t layer) {
    const auto& pages = cache_.layers(sequence)[layer].pages;
    return pages.size() - static_cast<std::size_t>(std::count(pages.begin(), pages.end(), nullptr));
  }

  KvCache cache_{{{kLayers[0].kept, 100}, kLayers[1]}, 100 * block_bytes(), Storage::kPages};
};

TEST_F(WindowedCache, PagesBehindTheWindowGoWhenTheTickIsOver) {
  EXPECT_EQ(cache_.states(), (std::vector{StateGroup{StateKind::kWindowed, 100, page_bytes(0)},
                                          StateGroup{StateKind::kPaged, 0, page_bytes(1)}}));
  ASSERT_TRUE(apply({}, {{1, 0, 1000}}));
  EXPECT_EQ(pages(1, 0), 16U) << "its first tokens' queries see the first pages";
  ASSERT_TRUE(apply({}, {{1, 1000, 1}}));
  EXPECT_EQ(pages(1, 0), 3U) << "queries from 936 on see tokens from 837 on";
  EXPECT_EQ(pages(1, 1), 16U);
  EXPECT_EQ(cache_.bytes_in_use(), 3 * page_bytes(0) + 16 * page_bytes(1));
  ASSERT_TRUE(apply({{Kind::kFree, 1, 0, 0}}, {}));
  EXPECT_EQ(cache_.bytes_in_use(), 0U);
}

TEST_F(WindowedCache, RewindsAndForksReachAsFarAsPagesAreKept) {
  ASSERT_TRUE(apply({}, {{1, 0, 1000}}));
  const std::uint32_t least = 13 * kPage + 99;
  EXPECT_FALSE(apply({{Kind::kFork, 2, 1, least - 1}}, {}));
  EXPECT_FALSE(apply({{Kind::kRewind, 1, 0, least - 1}}, {}));
  ASSERT_TRUE(apply({{Kind::kFork, 2, 1, least}}, {{2, least, 1}}));
  EXPECT_EQ(pages(2, 0), 2U) << "a copy of page 14, which both write, and page 13";
  EXPECT_EQ(cache_.layers(2)[0].pages[13], cache_.layers(1)[0].pages[13]);
  ASSERT_TRUE(apply({{Kind::kRewind, 1, 0, least}}, {{1, least, 5}}));
  EXPECT_EQ(cache_.length(1), least + 5);
}

TEST_F(WindowedCache, AForkKeepsWhatItsOwnEndNeeds) {
  ASSERT_TRUE(apply({}, {{1, 0, 190}}));
  // Nothing is behind the window yet: any length will do.
  ASSERT_TRUE(apply({{Kind::kFork, 2, 1, 5}}, {{1, 190, 500}}));
  EXPECT_EQ(pages(2, 0), 1U);
  ASSERT_TRUE(apply({{Kind::kFork, 3, 1, 660}}, {{2, 5, 1}}));
  EXPECT_EQ(pages(1, 0), 3U);
  EXPECT_EQ(pages(3, 0), 3U);
}

TEST(SparePages, OfOneGroupGiveWayToAnother) {
  const std::uint64_t bytes = 8 * page_bytes(0) + 8 * page_bytes(1);
  KvCache cache({{kLayers[0].kept, 64}, kLayers[1]}, bytes, Storage::kPages);
  std::uint32_t length = 0;
  for (; length < 10 * kPage; length += kPage) {
    const std::vector<Append> more = {{1, length, kPage}};
    cache.begin_tick();
    ASSERT_TRUE(cache.apply({}, more).ok()) << length;
    const Status whole = cache.check_integrity();
    ASSERT_TRUE(whole.ok()) << whole.error().message;
  }
  EXPECT_LE(cache.bytes_held(), bytes);
}

TEST(ArrayCache, CountsLikePagesAndHandsArraysOn) {
  KvCache cache(kLayers, 4 * block_bytes(), Storage::kArrays);
  const std::vector<Append> first = {{1, 0, 70}};
  ASSERT_TRUE(cache.apply({}, first).ok());
  EXPECT_EQ(cache.bytes_in_use(), 2 * block_bytes());
  EXPECT_TRUE(cache.layers(1)[0].pages.empty());
  cache.layers(1)[0].keys = mlx::core::array({1.0F, 2.0F});
  const std::vector<StateOp> ops = {
      {Kind::kFork, 2, 1, 65}, {Kind::kFork, 3, 2, 3}, {Kind::kFree, 1, 0, 0}};
  const std::vector<Append> second = {{1, 0, 1}};
  ASSERT_TRUE(cache.apply(ops, second).ok());
  ASSERT_TRUE(cache.layers(2)[0].keys.has_value());
  ASSERT_TRUE(cache.layers(3)[0].keys.has_value());
  EXPECT_EQ(cache.layers(2)[0].keys->id(), cache.layers(3)[0].keys->id());
  EXPECT_FALSE(cache.layers(1)[0].keys.has_value());
  EXPECT_TRUE(cache.check_integrity().ok());
}

TEST(CacheElsewhere, NumbersBlocksAndSaysWhatToCopy) {
  KvCache cache(kLayers, 8 * block_bytes(), Storage::kElsewhere);
  const std::vector<Append> first = {{1, 0, 70}};
  ASSERT_TRUE(cache.apply({}, first).ok());
  EXPECT_TRUE(cache.take_copies().empty());
  const std::vector<int> source(cache.blocks(1).begin(), cache.blocks(1).end());
  ASSERT_EQ(source.size(), 2U);
  // The fork shares the full block and writes on into a copy of the other.
  const std::vector<StateOp> ops = {{Kind::kFork, 2, 1, 70}};
  const std::vector<Append> second = {{2, 70, 1}};
  ASSERT_TRUE(cache.apply(ops, second).ok());
  const std::vector<int> fork(cache.blocks(2).begin(), cache.blocks(2).end());
  ASSERT_EQ(fork.size(), 2U);
  EXPECT_EQ(fork[0], source[0]);
  EXPECT_NE(fork[1], source[1]);
  const auto copies = cache.take_copies();
  ASSERT_EQ(copies.size(), 1U);
  EXPECT_EQ(copies[0].from, source[1]);
  EXPECT_EQ(copies[0].to, fork[1]);
  EXPECT_TRUE(cache.take_copies().empty());
  EXPECT_TRUE(cache.check_integrity().ok());
}

}  // namespace
}  // namespace tandem::cache
