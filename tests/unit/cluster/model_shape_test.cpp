#include "cluster/split/model_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>

#include "models/model_bytes.h"
#include "planner/stage_cost.h"
#include "stage/budget.h"
#include "stage/memory_fit.h"
#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace tandem::cluster {
namespace {

using tandem::testing::TempFolder;
using tandem::testing::TinyCheckpoint;

/// What a stage would count itself, of the same folder.
models::ModelBytes own_bytes(const std::filesystem::path& folder) {
  stage::StageOptions options;
  options.folder = folder;
  auto bytes = stage::model_bytes_of(options);
  EXPECT_TRUE(bytes.ok()) << (bytes.ok() ? "" : bytes.error().message);
  return *bytes;
}

TEST(ModelShape, ThePlannerCountsTheMemoryThatAStageDoes) {
  for (const bool routed : {false, true}) {
    const TempFolder folder;
    const auto checkpoint =
        routed ? TinyCheckpoint::deepseek_v3(4, true) : TinyCheckpoint::llama(4, false);
    checkpoint.write(folder.path());
    const auto shape = shape_of(folder.path(), {.with_gpu = false});
    ASSERT_TRUE(shape.ok()) << shape.error().message;
    EXPECT_TRUE(shape->has_weights);
    EXPECT_EQ(shape->context_max, 512);
    const models::ModelBytes own = own_bytes(folder.path());
    for (int first = 0; first < 4; ++first) {
      for (int last = first + 1; last <= 4; ++last) {
        const LayerRange range{first, last};
        for (std::size_t step = 0; step < shape->model.cpu.steps.size(); ++step) {
          const std::uint32_t rows = shape->model.cpu.steps[step].rows;
          const models::MemoryNeeds needs = models::needs_of(own, range, rows);
          const planner::StageMemory memory =
              planner::memory_of(shape->model.cpu, range, {.context = kPageTokens}, step);
          EXPECT_EQ(memory.weights, needs.weights);
          EXPECT_EQ(memory.total(), needs.fixed() + needs.least_kept());
        }
        // A machine of exactly the least memory is enough for both, one of a byte less for none.
        const std::uint64_t least = stage::least_memory(own, range, stage::kLeastRows);
        const auto total =
            planner::memory_of(shape->model.cpu, range, {.context = kPageTokens}, 0).total();
        planner::Machine machine;
        machine.memory = least;
        EXPECT_LE(total, planner::usable_memory(machine));
        machine.memory = least - 1;
        EXPECT_GT(total, planner::usable_memory(machine));
      }
    }
  }
}

TEST(ModelShape, AFolderWithConfigAloneIsEnough) {
  const TempFolder whole;
  const TempFolder alone;
  TinyCheckpoint::deepseek_v3(3, true).write(whole.path());
  std::filesystem::copy_file(whole.path() / "config.json", alone.path() / "config.json");
  const auto real = shape_of(whole.path(), {});
  const auto guessed = shape_of(alone.path(), {});
  ASSERT_TRUE(real.ok() && guessed.ok());
  EXPECT_FALSE(guessed->has_weights);
  for (const bool gpu : {false, true}) {
    const planner::ModelShape& one = real->model.on(gpu);
    const planner::ModelShape& other = guessed->model.on(gpu);
    for (std::size_t i = 0; i < 3; ++i) {
      // But for the router [8, 64], which this checkpoint keeps in float32.
      const double router = i == 0 ? 0 : 8 * 64 * 4;
      const auto near = [router](std::uint64_t real_bytes, std::uint64_t guess) {
        EXPECT_NEAR(static_cast<double>(real_bytes), static_cast<double>(guess), router);
      };
      near(one.layers[i].weights.bytes, other.layers[i].weights.bytes);
      near(one.layers[i].weights.read, other.layers[i].weights.read);
      EXPECT_EQ(one.layers[i].weights.flops, other.layers[i].weights.flops);
      EXPECT_EQ(one.layers[i].expert, other.layers[i].expert);
      EXPECT_EQ(one.layers[i].experts, i == 0 ? 0 : 8);
      EXPECT_EQ(one.layers[i].kv_page, other.layers[i].kv_page);
    }
    EXPECT_EQ(one.head.bytes, other.head.bytes);
  }
}

TEST(ModelShape, EightBitsOfKvAreCounted) {
  const TempFolder folder;
  TinyCheckpoint::llama(2, false).write(folder.path());
  const auto plain = shape_of(folder.path(), {.with_gpu = false});
  const auto small = shape_of(folder.path(), {.with_gpu = false, .kv_bits = 8});
  ASSERT_TRUE(plain.ok() && small.ok());
  EXPECT_EQ(plain->model.cpu.layers[0].kv_page_8bit, small->model.cpu.layers[0].kv_page);
  EXPECT_LT(small->model.cpu.layers[0].kv_page, plain->model.cpu.layers[0].kv_page / 2);
  EXPECT_EQ(small->model.cpu.layers[0].kv_page_8bit, 0U);
}

TEST(ModelShape, WhatIsWrongIsNamed) {
  const TempFolder folder;
  EXPECT_FALSE(shape_of(folder.path(), {}).ok());
  TinyCheckpoint::llama(2, false).write(folder.path());
  std::filesystem::remove(folder.path() / "model.safetensors.index.json");
  tandem::testing::write_file(folder.path() / "model.safetensors", "no header");
  EXPECT_FALSE(shape_of(folder.path(), {}).ok());
}

}  // namespace
}  // namespace tandem::cluster
