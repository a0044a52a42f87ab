// Ticks that a hostile or broken gateway could send: every entry is done or refused, and a tick
// that is none leaves the stage as it was.

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "stage/decoder_stage.h"
#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace tandem::stage {
namespace {

using tandem::testing::TempFolder;
using tandem::testing::TinyCheckpoint;

class RandomTicks : public ::testing::Test {
 protected:
  void SetUp() override {
    seed_ = std::random_device{}();
    random_.seed(seed_);
    TinyCheckpoint::llama(2, true).write(folder_.path());
  }

  std::unique_ptr<Stage> load(LayerRange layers) {
    StageOptions options;
    options.folder = folder_.path();
    options.threads = 2;
    options.layers = layers;
    options.kv_bytes_max = std::uint64_t{1} << 19;
    auto loaded = Stage::load(options, {});
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    return loaded.ok() ? std::move(*loaded) : nullptr;
  }

  std::uint32_t pick(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }
  bool rarely() { return pick(12) == 0; }
  std::uint32_t length() { return rarely() ? static_cast<std::uint32_t>(random_()) : pick(100); }

  StateOp random_op() {
    const auto kind = rarely() ? 7 : static_cast<int>(pick(3));
    return {static_cast<StateOp::Kind>(kind), pick(5), pick(5), length()};
  }

  std::int32_t id() {
    return rarely() ? static_cast<std::int32_t>(random_())
                    : static_cast<std::int32_t>(pick(TinyCheckpoint::kVocabulary));
  }
  std::uint32_t candidates() {
    return pick(100) == 0 ? static_cast<std::uint32_t>(random_()) : pick(4);
  }
  Want random_draw(std::uint32_t row) {
    Want want{.row = row, .top_logprobs = candidates()};
    if (pick(3) > 0) return want;
    want.allowed.resize(rarely() ? pick(5) : TinyCheckpoint::kVocabulary / 32);
    for (auto& word : want.allowed) word = random_() & (rarely() ? 0 : ~0U);
    return want;
  }

  TickEntry random_entry() {
    TickEntry entry;
    entry.sequence = pick(5);
    entry.position = rarely() ? length() : lengths_[entry.sequence];
    entry.tokens.resize(rarely() ? 0 : 1 + pick(40));
    for (auto& token : entry.tokens) {
      token = static_cast<std::int32_t>(pick(TinyCheckpoint::kVocabulary));
    }
    if (rarely() && !entry.tokens.empty()) entry.tokens.back() = static_cast<int>(random_());
    entry.drawn_in = rarely() ? pick(600) : 0;
    for (std::uint32_t row = 0; row < entry.tokens.size(); ++row) {
      if (pick(4) == 0) entry.wants.push_back({Want::Kind::kScore, row, id(), candidates()});
      if (pick(4) == 0) entry.wants.push_back(random_draw(row));
    }
    if (rarely()) entry.wants.push_back(random_draw(pick(50)));
    if (pick(3) == 0) {
      auto& sampling = entry.sampling.emplace();
      sampling.temperature = rarely() ? std::numeric_limits<float>::quiet_NaN() : 1;
      sampling.top_k = static_cast<std::int32_t>(pick(10)) - (rarely() ? 20 : 0);
      sampling.repetition_penalty = 1.1F;
      sampling.seed = random_();
    }
    return entry;
  }

  Tick random_tick() {
    Tick tick;
    for (auto n = pick(3); n > 0; --n) tick.state_ops.push_back(random_op());
    for (auto n = pick(4); n > 0; --n) tick.entries.push_back(random_entry());
    return tick;
  }

  /// What a stage holds now of the sequences that took part.
  void follow(const Tick& tick, const TickResult& result) {
    for (const StateOp& op : tick.state_ops) lengths_[op.sequence] = 0;
    for (std::size_t i = 0; i < tick.entries.size(); ++i) {
      const TickEntry& entry = tick.entries[i];
      lengths_[entry.sequence] =
          result.entries[i].error
              ? 0
              : entry.position + static_cast<std::uint32_t>(entry.tokens.size());
    }
  }

  TempFolder folder_;
  unsigned seed_ = 0;
  std::mt19937 random_;
  std::map<std::uint64_t, std::uint32_t> lengths_;
};

TEST_F(RandomTicks, EachEntryIsDoneOrRefused) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const auto stage = load({});
  ASSERT_NE(stage, nullptr);
  const auto& inner = dynamic_cast<const DecoderStage&>(*stage);
  int done = 0;
  int refused = 0;
  int broken = 0;
  for (int round = 0; round < 600; ++round) {
    Tick tick = random_tick();
    tick.number = static_cast<std::uint64_t>(round) + 1;
    const std::uint64_t before = stage->memory_bytes();
    const auto output = stage->run(tick, {});
    const Status whole = inner.check_integrity();
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    if (!output.ok()) {
      ++broken;
      ASSERT_EQ(stage->memory_bytes(), before);
      ASSERT_NE(output.error().message.find("appears twice"), std::string::npos)
          << output.error().message;
      continue;
    }
    const TickResult& result = *output->result;
    ASSERT_EQ(result.entries.size(), tick.entries.size());
    for (std::size_t i = 0; i < result.entries.size(); ++i) {
      const EntryResult& entry = result.entries[i];
      if (!entry.error) {
        ++done;
        ASSERT_EQ(entry.tokens.size(), tick.entries[i].wants.size());
        continue;
      }
      ++refused;
      ASSERT_TRUE(entry.tokens.empty());
      ASSERT_NE(entry.error->code, ErrorCode::kInternal) << entry.error->message;
      ASSERT_EQ(entry.error->message.find('\n'), std::string::npos);
    }
    follow(tick, result);
  }
  EXPECT_GT(done, 30);
  EXPECT_GT(refused, 30);
  EXPECT_GT(broken, 5);
}

TEST_F(RandomTicks, HiddenStatesOfAnySizeAreDoneOrRefused) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const auto stage = load({1, 2});
  ASSERT_NE(stage, nullptr);
  int done = 0;
  for (std::uint64_t name = 100; name < 300; ++name) {
    Tick tick;
    TickEntry entry;
    entry.sequence = name;
    entry.tokens.assign(1 + pick(3), 5);
    tick.entries.push_back(entry);
    tick.state_ops.push_back({StateOp::Kind::kFree, name - 1, 0, 0});
    Hidden in;
    in.rows = static_cast<std::int32_t>(entry.tokens.size()) + (rarely() ? 1 : 0);
    in.cols = rarely() ? static_cast<std::int32_t>(random_()) : TinyCheckpoint::kHidden;
    in.dtype = rarely() ? DType::kBF16 : DType::kF32;
    in.bytes = SharedBytes(std::vector<std::byte>(
        static_cast<std::size_t>(in.rows) * TinyCheckpoint::kHidden * 4 - (rarely() ? 1 : 0)));
    done += stage->run(tick, in).ok();
  }
  EXPECT_GT(done, 50);
  EXPECT_LT(done, 200);
}

}  // namespace
}  // namespace tandem::stage
