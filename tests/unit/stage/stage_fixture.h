#pragma once
// A tiny model on disk and ticks for it.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "stage/stage.h"
#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace tandem::stage {

using tandem::testing::TempFolder;
using tandem::testing::TinyCheckpoint;

inline constexpr int kLayers = 3;
/// K and V of a llama layer: 2 heads of 16, float32, in pages of 64 tokens.
inline constexpr std::uint64_t kBlockBytes = std::uint64_t{2} * 2 * 16 * 4 * 64 * kLayers;

class StageRun : public ::testing::Test {
 protected:
  void SetUp() override {
    TinyCheckpoint::llama(kLayers, false).write(folder_.path());
    options_.folder = folder_.path();
    options_.activations = kernels::Activations::kF32;
    options_.threads = 1;
    options_.kv_bytes_max = 4 * kBlockBytes;
  }

  std::unique_ptr<Stage> load(LayerRange layers = {}) {
    options_.layers = layers;
    auto loaded = Stage::load(options_, {});
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    return loaded.ok() ? std::move(*loaded) : nullptr;
  }
  std::string load_error(const StageOptions& options) {
    auto loaded = Stage::load(options, {});
    EXPECT_FALSE(loaded.ok());
    return loaded.ok() ? "" : loaded.error().message;
  }

  /// A draw after the last token.
  static Want draw_after(const TickEntry& entry) {
    return {.row = static_cast<std::uint32_t>(entry.tokens.size() - 1)};
  }
  /// Wants the score of each token but the first, before the draws that are wanted already.
  static void want_scores(TickEntry& entry) {
    std::vector<Want> scores;
    for (std::uint32_t row = 0; row + 1 < entry.tokens.size(); ++row) {
      scores.push_back({Want::Kind::kScore, row, entry.tokens[row + 1], 0});
    }
    entry.wants.insert(entry.wants.begin(), scores.begin(), scores.end());
  }
  static const TokenResult& last_token(const Result<StageOutput>& output) {
    return output->result->entries.at(0).tokens.back();
  }
  static Tick tick(std::uint64_t sequence, std::uint32_t position,
                   std::vector<std::int32_t> tokens) {
    Tick made;
    made.epoch = 5;
    made.number = 6;
    TickEntry entry;
    entry.sequence = sequence;
    entry.position = position;
    entry.tokens = std::move(tokens);
    if (!entry.tokens.empty()) entry.wants = {draw_after(entry)};
    made.entries.push_back(std::move(entry));
    return made;
  }
  static Hidden hidden(std::int32_t rows) {
    Hidden made;
    made.rows = rows;
    made.cols = TinyCheckpoint::kHidden;
    made.bytes = SharedBytes(
        std::vector<std::byte>(static_cast<std::size_t>(rows) * TinyCheckpoint::kHidden * 4));
    return made;
  }
  /// The last entry of a tick is refused; the stage goes on.
  static void expect_refused(Stage& stage, const Tick& tick, const std::string& part,
                             ErrorCode code = ErrorCode::kInvalidArgument) {
    const auto output = stage.run(tick, {});
    ASSERT_TRUE(output.ok()) << output.error().message;
    const EntryResult& entry = output->result->entries.back();
    ASSERT_TRUE(entry.error.has_value()) << part;
    EXPECT_TRUE(entry.tokens.empty());
    EXPECT_EQ(entry.error->code, code) << entry.error->message;
    EXPECT_NE(entry.error->message.find(part), std::string::npos) << entry.error->message;
    EXPECT_EQ(entry.error->message.find('\n'), std::string::npos);
  }
  /// The tick as a whole is none.
  static void expect_broken(Stage& stage, const Tick& tick, const Hidden& in,
                            const std::string& part) {
    const std::uint64_t before = stage.memory_bytes();
    const auto output = stage.run(tick, in);
    ASSERT_FALSE(output.ok()) << part;
    EXPECT_EQ(output.error().code, ErrorCode::kInternal) << output.error().message;
    EXPECT_NE(output.error().message.find(part), std::string::npos) << output.error().message;
    EXPECT_EQ(output.error().message.find('\n'), std::string::npos);
    EXPECT_EQ(stage.memory_bytes(), before);
  }

  TempFolder folder_;
  StageOptions options_;
};

}  // namespace tandem::stage
