#include "scheduler/kv_book.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "cache/kv_cache.h"

namespace tandem::scheduler {
namespace {

/// A window that stands for a recurrent group.
constexpr std::uint32_t kSlot = 0xFFFFFFFF;

StateRule rule_of(std::uint32_t window) {
  if (window == kSlot) return {StateKind::kRecurrent, 0};
  return {window == 0 ? StateKind::kPaged : StateKind::kWindowed, window};
}

/// One rank whose pages of group i take 2^i bytes.
KvShape shape_of(const std::vector<std::uint32_t>& windows, std::uint64_t bytes_max = 1 << 30) {
  KvShape shape;
  for (const std::uint32_t window : windows) shape.groups.push_back(rule_of(window));
  shape.ranks.resize(1);
  shape.ranks[0].bytes_max = bytes_max;
  for (std::size_t g = 0; g < shape.groups.size(); ++g) {
    shape.ranks[0].page_bytes.push_back(1ULL << g);
  }
  return shape;
}

TEST(KvBook, ACopiedPrefixTakesNoPagesUntilItIsWrittenTo) {
  KvBook book(shape_of({0}));
  book.append(1, 100);
  book.fork(2, 1, 99);
  EXPECT_EQ(book.held(), PageCounts{2});
  EXPECT_TRUE(book.shares_last_page(1));
  EXPECT_EQ(book.pages_to_append(2, 1), PageCounts{1});
  book.append(2, 1);
  EXPECT_EQ(book.held(), PageCounts{3});
  EXPECT_FALSE(book.shares_last_page(1));
  EXPECT_EQ(book.pages_to_append(1, 28), PageCounts{0});
  EXPECT_EQ(book.pages_to_append(1, 29), PageCounts{1});
}

TEST(KvBook, PagesOfIdleSequencesAreNotPinned) {
  KvBook book(shape_of({0}));
  book.append(1, 130);
  book.unpin(1);
  EXPECT_EQ(book.pinned(), PageCounts{0});
  EXPECT_EQ(book.held(), PageCounts{3});
  book.fork(2, 1, 70);
  EXPECT_EQ(book.pinned(), PageCounts{2});
  EXPECT_EQ(book.pinned_pages(1, 130), PageCounts{2});
  EXPECT_FALSE(book.shares_last_page(2)) << "the other one is idle and can give way";
  const auto most = [](std::uint64_t pages) {
    return [pages](const PageCounts& held) { return held[0] <= pages; };
  };
  EXPECT_EQ(book.length_for(1, most(2)), 128U);
  EXPECT_EQ(book.length_for(1, most(1)), 0U) << "only one page is its own";
}

TEST(KvBook, PagesBehindAWindowGoWhenTheTickIsOver) {
  KvBook book(shape_of({0, 100}));
  book.append(1, 1000);
  EXPECT_EQ(book.held(), (PageCounts{16, 16}));
  EXPECT_EQ(book.least(1), 0U);
  EXPECT_EQ(book.least_after(1, 1), 13 * 64 + 99U);
  book.end_tick();
  // Queries from 936 on see tokens from 837 on, which lie in page 13.
  EXPECT_EQ(book.held(), (PageCounts{16, 3}));
  EXPECT_EQ(book.least(1), 13 * 64 + 99U);
  book.fork(2, 1, 950);
  EXPECT_EQ(book.held(), (PageCounts{16, 3}));
  book.append(2, 1);
  EXPECT_EQ(book.held(), (PageCounts{17, 4}));
  EXPECT_EQ(book.pages_to_grow(1, 1000), (PageCounts{0, 2})) << "while it grows page by page";
}

TEST(KvBook, AModelLikeGemma3HoldsWhatItsWindowsSee) {
  // 34 layers of 4 heads of 256 in bf16, of which 29 see 1,024 tokens.
  constexpr std::uint64_t kLayerBytes = std::uint64_t{64} * 4 * 256 * 2 * 2;
  for (const auto& [tokens, bytes, whole] :
       {std::tuple{8192U, 297'009'152U, std::uint64_t{1'140'850'688}},
        std::tuple{32768U, 800'325'632U, std::uint64_t{4'563'402'752}}}) {
    KvShape shape = shape_of({1024, 0});
    shape.ranks[0].page_bytes = {29 * kLayerBytes, 5 * kLayerBytes};
    KvBook book(shape);
    for (std::uint32_t at = 0; at < tokens; at += 512) {
      book.append(1, 512);
      book.end_tick();
    }
    EXPECT_EQ(shape.bytes(book.held()), bytes) << tokens;
    EXPECT_EQ(shape.bytes(shape.places(tokens)), whole);
  }
}

TEST(KvBook, ASlotIsOnePageThatEveryTokenWrites) {
  KvBook book(shape_of({0, kSlot}));
  EXPECT_EQ(book.pages_to_append(1, 1000), (PageCounts{16, 1}));
  book.append(1, 1000);
  book.end_tick();
  EXPECT_EQ(book.held(), (PageCounts{16, 1}));
  EXPECT_EQ(book.least(1), 1000U);
  EXPECT_EQ(book.least_after(1, 24), 1024U);
  EXPECT_EQ(book.pages_to_append(1, 24), (PageCounts{0, 0}));
  book.fork(2, 1, 1000);
  EXPECT_EQ(book.held(), (PageCounts{16, 1}));
  EXPECT_EQ(book.pinned_pages(1, 1000), (PageCounts{15, 0})) << "each needs a slot of its own";
  EXPECT_EQ(book.pages_to_append(2, 24), (PageCounts{1, 1}));
  book.append(2, 24);
  EXPECT_EQ(book.held(), (PageCounts{17, 2}));
  book.unpin(1);
  const auto never = [](const PageCounts&) { return false; };
  EXPECT_EQ(book.length_for(1, never), 0U) << "it can be freed, not shortened";
}

TEST(KvShape, ARankOfRecurrentLayersAloneHasRoomForSlotsOnly) {
  KvShape shape = shape_of({0, kSlot});
  shape.ranks = {{1000, {10, 50}}, {120, {0, 40}}};
  EXPECT_EQ(shape.blocks_beside({10, 2}), 80U);
  EXPECT_TRUE(shape.fits({10, 3}));
  EXPECT_FALSE(shape.fits({10, 4}));
  EXPECT_EQ(shape.length_max(), 95 * 64U);
}

TEST(KvShape, AsLongASequenceFitsAsItsPagesDo) {
  KvShape shape = shape_of({0, 100}, 100);
  // 16 pages of two bytes are too much already, but a window of 100 tokens needs 5 at most.
  const std::uint64_t most = shape.length_max();
  EXPECT_EQ(most, (100 - 2 * 5) * 64U);
  EXPECT_TRUE(shape.fits(shape.needed(most)));
  EXPECT_FALSE(shape.fits(shape.needed(most + 1)));
  KvBook book(shape);
  while (book.length(1) < most) {
    ASSERT_GE(shape.blocks_beside(book.held()), 1U) << book.length(1);
    book.append(1, 64);
    book.end_tick();
  }
}

/// The real cache, told the same.
class Twin {
 public:
  explicit Twin(const std::vector<std::uint32_t>& windows)
      : book(shape_for(windows)),
        cache_(layers_for(windows), std::uint64_t{1} << 40, cache::Storage::kPages) {}

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
    cache_.begin_tick();
    ASSERT_TRUE(cache_.apply(ops_, appends_).ok());
    ops_.clear();
    appends_.clear();
    ASSERT_EQ(book.shape().bytes(book.held()), cache_.bytes_in_use());
    ASSERT_EQ(book.sequences(), cache_.sequences());
    book.end_tick();
  }

  KvBook book;

 private:
  static kernels::LayerKept kept(std::size_t group, std::uint32_t window) {
    if (window == kSlot) return kernels::StateSpec{3, 8 << group, DType::kBF16, 1, 8, 16};
    return kernels::KvSpec{1, 4 << group, 4, false, DType::kBF16};
  }
  static std::vector<cache::LayerKv> layers_for(const std::vector<std::uint32_t>& windows) {
    std::vector<cache::LayerKv> layers;
    for (const std::uint32_t window : windows) {
      layers.push_back({kept(layers.size(), window), static_cast<int>(rule_of(window).window)});
    }
    return layers;
  }
  static KvShape shape_for(const std::vector<std::uint32_t>& windows) {
    KvShape shape = shape_of(windows, std::uint64_t{1} << 40);
    for (std::size_t g = 0; g < windows.size(); ++g) {
      shape.ranks[0].page_bytes[g] = kernels::page_bytes(kept(g, windows[g]));
    }
    return shape;
  }

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
    const std::uint32_t least = std::max(twin.book.least(id), 1U);
    const std::uint64_t what = pick(0, 5);
    if (what == 0) {
      if (running) twin.book.unpin(id);
      running = false;
    } else if (what == 1 && !touched.contains(id)) {
      const auto at = static_cast<std::uint32_t>(pick(least, length));
      sequences[++next] = true;
      twin.op({StateOp::Kind::kFork, next, id, at});
    } else if (what == 2 && !running && !touched.contains(id) && length > least) {
      twin.op({.kind = StateOp::Kind::kRewind,
               .sequence = id,
               .length = static_cast<std::uint32_t>(pick(least, length - 1))});
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
    std::vector<std::uint32_t> windows = {0};
    for (std::uint64_t more = random() % 3; more > 0; --more) {
      windows.push_back(windows.back() + 1 + static_cast<std::uint32_t>(random() % 150));
    }
    if (random() % 2 == 0) windows.push_back(kSlot);
    std::shuffle(windows.begin(), windows.end(), random);
    Twin twin(windows);
    std::map<std::uint64_t, bool> sequences;  // id -> running
    std::uint64_t next = 0;
    for (int tick = 0; tick < 60; ++tick) {
      random_tick(random, twin, sequences, next);
      ASSERT_FALSE(testing::Test::HasFatalFailure());
      for (std::size_t g = 0; g < windows.size(); ++g) {
        ASSERT_LE(twin.book.pinned()[g], twin.book.held()[g]);
      }
    }
    for (const auto& [id, running] : sequences) {
      twin.op({.kind = StateOp::Kind::kFree, .sequence = id});
    }
    twin.tick();
    ASSERT_EQ(twin.book.held(), twin.book.shape().none());
    ASSERT_EQ(twin.book.pinned(), twin.book.shape().none());
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
    KvBook book(shape_of({0}));
    book.append(1, pick(1, 500));
    for (std::uint64_t id = 2; id < 5; ++id) {
      book.fork(id, 1, pick(1, book.length(1)));
      if (pick(0, 1) == 0) book.append(id, pick(1, 100));
    }
    const std::uint64_t before = book.held()[0];
    const std::uint64_t wanted = pick(1, 8);
    const std::uint32_t length =
        book.length_for(1, [&](const PageCounts& held) { return held[0] + wanted <= before; });
    if (length == 0) {
      book.free(1);
      ASSERT_LE(before - book.held()[0], wanted);
    } else {
      book.rewind(1, length);
      ASSERT_EQ(before - book.held()[0], wanted);
    }
  }
}

}  // namespace
}  // namespace tandem::scheduler
