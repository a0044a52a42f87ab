// Random ticks against a plain model of what each sequence holds.

#include <gtest/gtest.h>

#include <algorithm>
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

constexpr kernels::KvSpec kPlain{1, 16, 16, false, DType::kBF16};
constexpr kernels::KvSpec kLatent{1, 32, 32, true, DType::kF32};
constexpr kernels::StateSpec kState{3, 16, DType::kBF16, 2, 8, 16};

std::uint64_t bytes_of(const std::vector<LayerKv>& layers) {
  std::uint64_t bytes = 0;
  for (const LayerKv& layer : layers) bytes += kernels::page_bytes(layer.kept);
  return bytes;
}

/// What the layers would have written: one stamp for each position, the last one into a slot.
/// Queries at positions from `floor` on can still be asked.
struct Written {
  std::vector<std::uint32_t> stamps;
  std::uint32_t floor = 0;
};
using Model = std::map<std::uint64_t, Written>;

std::uint32_t floor_of(std::size_t length) {
  return static_cast<std::uint32_t>(length < 64 ? 0 : length - 64);
}

class Walk {
 public:
  explicit Walk(unsigned seed)
      : random_(seed),
        layers_{{kPlain, 0}, {kLatent, 0}, {kPlain, random_window()}, {kLatent, random_window()}},
        recurrent_(with_slots()),
        cache_(layers_, kBlocksMax * bytes_of(layers_), Storage::kPages) {}

  void tick() {
    for (const std::uint64_t name : grown_) {
      Written& written = model_[name];
      written.floor = std::max(written.floor, floor_of(written.stamps.size()));
    }
    grown_.clear();
    Model next = model_;
    illegal_ = false;
    std::vector<StateOp> ops;
    for (auto n = pick(3); n > 0; --n) ops.push_back(random_op(next));
    std::vector<Append> appends;
    for (std::uint64_t name = 1; name <= kNames; ++name) {
      if (pick(3) == 0) appends.push_back(random_append(name, next));
    }
    const bool broken = pick(8) == 0 && !appends.empty();
    if (broken) appends.back().position += 1;

    cache_.begin_tick();
    const std::uint64_t before = cache_.bytes_in_use();
    const Status status = cache_.apply(ops, appends);
    ASSERT_FALSE((broken || illegal_) && status.ok());
    if (!status.ok()) {
      ++refused_;
      ASSERT_EQ(cache_.bytes_in_use(), before);
      ASSERT_TRUE(broken || illegal_ || status.error().code == ErrorCode::kResourceLimit);
      return;
    }
    ++applied_;
    model_ = std::move(next);
    for (const Append& append : appends) {
      write(append);
      grown_.push_back(append.sequence);
    }
  }

  void verify() {
    const Status whole = cache_.check_integrity();
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    ASSERT_EQ(cache_.sequences(), model_.size());
    for (const auto& [name, written] : model_) {
      const auto& stamps = written.stamps;
      ASSERT_EQ(cache_.length(name), stamps.size());
      for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
        if (recurrent(layer)) {
          const auto& pages = cache_.layers(name)[layer].pages;
          ASSERT_EQ(pages.size(), stamps.empty() ? 0U : 1U);
          if (!stamps.empty()) ASSERT_EQ(read(name, layer, 0), stamps.back());
          continue;
        }
        for (std::size_t i = kept_from(written, layer); i < stamps.size(); ++i) {
          ASSERT_EQ(read(name, layer, i), stamps[i]) << "sequence " << name << " position " << i;
        }
        for (std::size_t page = 0; page < kept_from(written, layer) / kPage; ++page) {
          ASSERT_EQ(cache_.layers(name)[layer].pages[page], nullptr);
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
  bool with_slots() {
    if (pick(2) == 0) return false;
    layers_.insert(layers_.begin() + static_cast<std::ptrdiff_t>(pick(4)), {kState, 0});
    layers_.push_back({kState, 0});
    return true;
  }
  bool recurrent(std::size_t layer) const {
    return std::holds_alternative<kernels::StateSpec>(layers_[layer].kept);
  }
  int random_window() { return static_cast<int>(pick(3) == 0 ? 0 : 1 + pick(150)); }

  /// The start of the page of the first token that a query at `position` of a layer sees.
  std::size_t seen_from(std::size_t layer, std::size_t position) const {
    const auto window = static_cast<std::size_t>(layers_[layer].window);
    return window == 0 || position < window ? 0 : (position - window + 1) / kPage * kPage;
  }
  std::size_t kept_from(const Written& written, std::size_t layer) const {
    return seen_from(layer, written.floor);
  }
  bool can_go_on_at(const Written& written, std::size_t length) const {
    if (recurrent_ && length != written.stamps.size()) return false;
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      if (seen_from(layer, length) < kept_from(written, layer)) return false;
    }
    return true;
  }
  /// Mostly one that can be gone on at.
  std::uint32_t random_length(const Written& written, std::uint32_t least) {
    std::uint64_t length = written.stamps.size();
    if (recurrent_ && length >= least && pick(3) > 0) return static_cast<std::uint32_t>(length);
    for (int tries = 0; tries < 5; ++tries) {
      length = least + pick(written.stamps.size() + 1 - least);
      if (can_go_on_at(written, length)) return static_cast<std::uint32_t>(length);
    }
    illegal_ = true;
    return static_cast<std::uint32_t>(length);
  }

  StateOp random_op(Model& next) {
    const std::uint64_t name = 1 + pick(kNames);
    const auto it = next.find(name);
    if (it == next.end()) {
      if (next.empty()) return {Kind::kFree, name, 0, 0};
      auto source = next.begin();
      std::advance(source, static_cast<std::ptrdiff_t>(pick(next.size())));
      if (source->second.stamps.empty()) return {Kind::kFree, name, 0, 0};
      const std::uint32_t length = random_length(source->second, 1);
      const StateOp op{Kind::kFork, name, source->first, length};
      const Written from = source->second;
      next[name] = {{from.stamps.begin(), from.stamps.begin() + length},
                    std::max(from.floor, floor_of(length))};
      return op;
    }
    if (pick(2) == 0) {
      next.erase(it);
      return {Kind::kFree, name, 0, 0};
    }
    const std::uint32_t length = random_length(it->second, 0);
    it->second.stamps.resize(length);
    return {Kind::kRewind, name, 0, length};
  }

  Append random_append(std::uint64_t name, Model& next) {
    auto& stamps = next[name].stamps;
    const auto position = static_cast<std::uint32_t>(stamps.size());
    const auto count = static_cast<std::uint32_t>(1 + pick(pick(2) == 0 ? 3 : 2 * kPage));
    for (std::uint32_t i = 0; i < count; ++i) stamps.push_back(++stamp_);
    return {name, position, count};
  }

  std::byte* slot(std::uint64_t name, std::size_t layer, std::size_t position) {
    if (recurrent(layer)) return cache_.layers(name)[layer].pages.at(0);
    return cache_.layers(name)[layer].pages.at(position / kPage) + position % kPage * 4;
  }
  void write(const Append& append) {
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      for (std::uint32_t i = append.position; i < append.position + append.count; ++i) {
        std::memcpy(slot(append.sequence, layer, i), &model_[append.sequence].stamps[i], 4);
      }
    }
  }
  std::uint32_t read(std::uint64_t name, std::size_t layer, std::size_t position) {
    std::uint32_t stamp = 0;
    std::memcpy(&stamp, slot(name, layer, position), 4);
    return stamp;
  }

  std::mt19937 random_;
  std::vector<LayerKv> layers_;
  bool recurrent_;
  KvCache cache_;
  Model model_;
  std::vector<std::uint64_t> grown_;  // by the last tick
  bool illegal_ = false;              // the tick reaches back to what is not kept
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
