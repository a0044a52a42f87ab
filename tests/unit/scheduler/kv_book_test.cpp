#include "scheduler/kv_book.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "cache/kv_cache.h"

namespace tandem::scheduler {
namespace {

constexpr kernels::KvSpec kSpec{1, 4, 4, false, kernels::KvType::kBF16};

TEST(KvBook, ACopiedPrefixTakesNoPagesUntilItIsWrittenTo) {
  KvBook book;
  book.append(1, 100);
  book.fork(2, 1, 99);
  EXPECT_EQ(book.held(), 2U);
  EXPECT_TRUE(book.shares_last_page(1));
  EXPECT_EQ(book.pages_to_append(2, 1), 1U);
  book.append(2, 1);
  EXPECT_EQ(book.held(), 3U);
  EXPECT_FALSE(book.shares_last_page(1));
  EXPECT_EQ(book.pages_to_append(1, 28), 0U);
  EXPECT_EQ(book.pages_to_append(1, 29), 1U);
}

TEST(KvBook, PagesOfIdleSequencesAreNotPinned) {
  KvBook book;
  book.append(1, 130);
  book.unpin(1);
  EXPECT_EQ(book.pinned(), 0U);
  EXPECT_EQ(book.held(), 3U);
  book.fork(2, 1, 70);
  EXPECT_EQ(book.pinned(), 2U);
  EXPECT_EQ(book.pinned_pages(1, 130), 2U);
  EXPECT_FALSE(book.shares_last_page(2)) << "the other one is idle and can give way";
  EXPECT_EQ(book.length_without(1, 1), 128U);
  EXPECT_EQ(book.length_without(1, 2), 0U) << "only one page is its own";
}

/// The real cache, told the same.
class Twin {
 public:
  Twin() : cache_({kSpec}, std::uint64_t{1} << 40, cache::Storage::kArrays) {}

  void append(std::uint64_t id, std::uint32_t count) {
    appends_.push_back({id, book.length(id), count});
    book.append(id, count);
  }
  void op(const StateOp& op) {
    ops_.push_back(op);
    if (op.kind == StateOp::Kind::kFree) book.free(op.sequence);
    if (op.kind == StateOp::Kind::kRewind) book.rewind(op.sequence, op.length);
    if (op.kind == StateOp::Kind::kFork) book.fork(op.sequence, op.source, op.length);
  }
  void tick() {
    ASSERT_TRUE(cache_.apply(ops_, appends_).ok());
    ops_.clear();
    appends_.clear();
    ASSERT_EQ(book.held() * cache_.block_bytes(), cache_.bytes_in_use());
    ASSERT_EQ(book.sequences(), cache_.sequences());
  }

  KvBook book;

 private:
  cache::KvCache cache_;
  std::vector<StateOp> ops_;
  std::vector<cache::Append> appends_;
};

/// Operations and appends in any order within a tick, as the engine decides on them; the cache
/// gets the operations first.
void random_tick(std::mt19937_64& random, Twin& twin, std::map<std::uint64_t, bool>& sequences,
                 std::uint64_t& next) {
  const auto pick = [&](std::uint64_t low, std::uint64_t high) {
    return std::uniform_int_distribution<std::uint64_t>(low, high)(random);
  };
  std::set<std::uint64_t> touched;
  for (std::uint64_t steps = pick(1, 6); steps > 0; --steps) {
    if (sequences.empty() || pick(0, 5) == 0) {
      sequences[++next] = true;
      touched.insert(next);
      twin.append(next, static_cast<std::uint32_t>(pick(1, 200)));
      continue;
    }
    const auto chosen =
        std::next(sequences.begin(), static_cast<std::ptrdiff_t>(pick(0, sequences.size() - 1)));
    auto& [id, running] = *chosen;
    const std::uint32_t length = twin.book.length(id);
    const std::uint64_t what = pick(0, 5);
    if (what == 0) {
      if (running) twin.book.unpin(id);
      running = false;
    } else if (what == 1 && !touched.contains(id)) {
      sequences[++next] = true;
      twin.op({StateOp::Kind::kFork, next, id, static_cast<std::uint32_t>(pick(1, length))});
    } else if (what == 2 && !running && !touched.contains(id) && length > 1) {
      twin.op({.kind = StateOp::Kind::kRewind,
               .sequence = id,
               .length = static_cast<std::uint32_t>(pick(1, length - 1))});
    } else if (what == 3 && !touched.contains(id)) {
      twin.op({.kind = StateOp::Kind::kFree, .sequence = id});
      sequences.erase(chosen);
    } else if (running && touched.insert(id).second) {
      twin.append(id, static_cast<std::uint32_t>(pick(1, 130)));
    }
  }
  twin.tick();
}

TEST(KvBook, CountsAsTheStagesCachesDo) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    Twin twin;
    std::map<std::uint64_t, bool> sequences;  // id -> running
    std::uint64_t next = 0;
    for (int tick = 0; tick < 60; ++tick) {
      random_tick(random, twin, sequences, next);
      ASSERT_FALSE(testing::Test::HasFatalFailure());
      ASSERT_LE(twin.book.pinned(), twin.book.held());
    }
    for (const auto& [id, running] : sequences) {
      twin.op({.kind = StateOp::Kind::kFree, .sequence = id});
    }
    twin.tick();
    ASSERT_EQ(twin.book.held(), 0U);
    ASSERT_EQ(twin.book.pinned(), 0U);
  }
}

TEST(KvBook, ALengthWithoutSomePagesGivesBackJustThose) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const auto pick = [&](std::uint32_t low, std::uint32_t high) {
    return std::uniform_int_distribution<std::uint32_t>(low, high)(random);
  };
  for (int round = 0; round < 2000; ++round) {
    KvBook book;
    book.append(1, pick(1, 500));
    for (std::uint64_t id = 2; id < 5; ++id) {
      book.fork(id, 1, pick(1, book.length(1)));
      if (pick(0, 1) == 0) book.append(id, pick(1, 100));
    }
    const std::uint64_t wanted = pick(1, 8);
    const std::uint32_t length = book.length_without(1, wanted);
    const std::uint64_t before = book.held();
    if (length == 0) {
      book.free(1);
      ASSERT_LE(before - book.held(), wanted);
    } else {
      book.rewind(1, length);
      ASSERT_EQ(before - book.held(), wanted);
    }
  }
}

}  // namespace
}  // namespace tandem::scheduler
