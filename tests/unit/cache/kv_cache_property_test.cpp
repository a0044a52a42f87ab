// Random ticks against a plain model of what each sequence holds.

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "cache/kv_cache.h"

namespace tandem::cache {
namespace {

using Kind = StateOp::Kind;
constexpr std::uint32_t kPage = kPageTokens;
constexpr std::uint64_t kNames = 6;
constexpr std::uint64_t kBlocksMax = 12;

const std::vector<kernels::KvSpec> kLayers = {
    {1, 16, 16, false, kernels::KvType::kBF16},
    {1, 32, 32, true, kernels::KvType::kF32},
};

std::uint64_t block_bytes() {
  return kernels::kv_page_bytes(kLayers[0]) + kernels::kv_page_bytes(kLayers[1]);
}

/// What attention would have written: one stamp for each position.
using Model = std::map<std::uint64_t, std::vector<std::uint32_t>>;

class Walk {
 public:
  explicit Walk(unsigned seed) : random_(seed) {}

  void tick() {
    Model next = model_;
    std::vector<StateOp> ops;
    for (auto n = pick(3); n > 0; --n) ops.push_back(random_op(next));
    std::vector<Append> appends;
    for (std::uint64_t name = 1; name <= kNames; ++name) {
      if (pick(3) == 0) appends.push_back(random_append(name, next));
    }
    const bool broken = pick(8) == 0 && !appends.empty();
    if (broken) appends.back().position += 1;

    const std::uint64_t before = cache_.bytes_in_use();
    const Status status = cache_.apply(ops, appends);
    ASSERT_FALSE(broken && status.ok());
    if (!status.ok()) {
      ++refused_;
      ASSERT_EQ(cache_.bytes_in_use(), before);
      ASSERT_TRUE(broken || status.error().code == ErrorCode::kResourceLimit);
      return;
    }
    ++applied_;
    model_ = std::move(next);
    for (const Append& append : appends) write(append);
  }

  void verify() {
    const Status whole = cache_.check_integrity();
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    ASSERT_EQ(cache_.sequences(), model_.size());
    for (const auto& [name, stamps] : model_) {
      ASSERT_EQ(cache_.length(name), stamps.size());
      for (std::size_t i = 0; i < stamps.size(); ++i) {
        for (std::size_t layer = 0; layer < kLayers.size(); ++layer) {
          ASSERT_EQ(read(name, layer, i), stamps[i]) << "sequence " << name << " position " << i;
        }
      }
    }
  }

  void end() {
    std::vector<StateOp> ops;
    for (std::uint64_t name = 1; name <= kNames; ++name) ops.push_back({Kind::kFree, name, 0, 0});
    ASSERT_TRUE(cache_.apply(ops, {}).ok());
    EXPECT_EQ(cache_.bytes_in_use(), 0U);
    EXPECT_GT(applied_, 100);
    EXPECT_GT(refused_, 10);
  }

 private:
  std::uint64_t pick(std::uint64_t n) { return random_() % n; }

  StateOp random_op(Model& next) {
    const std::uint64_t name = 1 + pick(kNames);
    const auto it = next.find(name);
    if (it == next.end()) {
      if (next.empty()) return {Kind::kFree, name, 0, 0};
      auto source = next.begin();
      std::advance(source, static_cast<std::ptrdiff_t>(pick(next.size())));
      if (source->second.empty()) return {Kind::kFree, name, 0, 0};
      const auto length = static_cast<std::uint32_t>(1 + pick(source->second.size()));
      const StateOp op{Kind::kFork, name, source->first, length};
      next[name].assign(source->second.begin(), source->second.begin() + length);
      return op;
    }
    if (pick(2) == 0) {
      next.erase(it);
      return {Kind::kFree, name, 0, 0};
    }
    const auto length = static_cast<std::uint32_t>(pick(it->second.size() + 1));
    it->second.resize(length);
    return {Kind::kRewind, name, 0, length};
  }

  Append random_append(std::uint64_t name, Model& next) {
    auto& stamps = next[name];
    const auto position = static_cast<std::uint32_t>(stamps.size());
    const auto count = static_cast<std::uint32_t>(1 + pick(pick(2) == 0 ? 3 : 2 * kPage));
    for (std::uint32_t i = 0; i < count; ++i) stamps.push_back(++stamp_);
    return {name, position, count};
  }

  std::byte* slot(std::uint64_t name, std::size_t layer, std::size_t position) {
    return cache_.layers(name)[layer].pages.at(position / kPage) + position % kPage * 4;
  }
  void write(const Append& append) {
    for (std::size_t layer = 0; layer < kLayers.size(); ++layer) {
      for (std::uint32_t i = append.position; i < append.position + append.count; ++i) {
        std::memcpy(slot(append.sequence, layer, i), &model_[append.sequence][i], 4);
      }
    }
  }
  std::uint32_t read(std::uint64_t name, std::size_t layer, std::size_t position) {
    std::uint32_t stamp = 0;
    std::memcpy(&stamp, slot(name, layer, position), 4);
    return stamp;
  }

  std::mt19937 random_;
  KvCache cache_{kLayers, kBlocksMax* block_bytes(), Storage::kPages};
  Model model_;
  std::uint32_t stamp_ = 0;
  int applied_ = 0;
  int refused_ = 0;
};

TEST(KvCacheProperty, EverySequenceKeepsExactlyItsOwnTokens) {
  const auto first = std::random_device{}();
  for (unsigned seed = first; seed != first + 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Walk walk(seed);
    for (int i = 0; i < 400 && !testing::Test::HasFatalFailure(); ++i) {
      walk.tick();
      walk.verify();
    }
    walk.end();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace tandem::cache
