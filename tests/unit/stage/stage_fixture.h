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

  static Tick tick(std::uint64_t sequence, std::uint32_t position,
                   std::vector<std::int32_t> tokens) {
    Tick made;
    made.epoch = 5;
    made.number = 6;
    TickEntry entry;
    entry.sequence = sequence;
    entry.position = position;
    entry.tokens = std::move(tokens);
    entry.sample = true;
    made.entries.push_back(std::move(entry));
    return made;
  }
  static Hidden hidden(std::int32_t rows) {
    Hidden made;
    made.rows = rows;
    made.cols = TinyCheckpoint::kHidden;
    made.bytes.resize(static_cast<std::size_t>(rows) * TinyCheckpoint::kHidden * 4);
    return made;
  }
  static void expect_refused(Stage& stage, const Tick& tick, const Hidden& in,
                             const std::string& part,
                             ErrorCode code = ErrorCode::kInvalidArgument) {
    const std::uint64_t before = stage.memory_bytes();
    const auto output = stage.run(tick, in);
    ASSERT_FALSE(output.ok()) << part;
    EXPECT_EQ(output.error().code, code) << output.error().message;
    EXPECT_NE(output.error().message.find(part), std::string::npos) << output.error().message;
    EXPECT_EQ(output.error().message.find('\n'), std::string::npos);
    EXPECT_EQ(stage.memory_bytes(), before);
  }

  TempFolder folder_;
  StageOptions options_;
};

}  // namespace tandem::stage
