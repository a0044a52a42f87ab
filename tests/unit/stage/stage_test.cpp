#include "stage/stage.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "support/stages.h"
#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace tandem::stage {
namespace {

using tandem::testing::Stages;
using tandem::testing::TempFolder;
using tandem::testing::TinyCheckpoint;

constexpr int kLayers = 3;
/// K and V of a llama layer: 2 heads of 16, float32, in pages of 64 tokens.
constexpr std::uint64_t kBlockBytes = std::uint64_t{2} * 2 * 16 * 4 * 64 * kLayers;

class StageRun : public ::testing::Test {
 protected:
  void SetUp() override {
    TinyCheckpoint::llama(kLayers, false).write(folder_.path());
    options_.folder = folder_.path();
    options_.activations = kernels::Activations::kF32;
    options_.threads = 1;
    options_.kv_bytes_max = 4 * kBlockBytes;
  }

  std::unique_ptr<Stage> load(models::LayerRange layers = {}) {
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

TEST_F(StageRun, InfoStatesWhatIsHeld) {
  const auto whole = load();
  const StageInfo& info = whole->info();
  EXPECT_EQ(info.layers, (models::LayerRange{0, kLayers}));
  EXPECT_EQ(info.layer_count, kLayers);
  EXPECT_EQ(info.hidden_size, TinyCheckpoint::kHidden);
  EXPECT_EQ(info.vocabulary, TinyCheckpoint::kVocabulary);
  EXPECT_EQ(info.context_max, 512);
  EXPECT_EQ(info.hidden_dtype, DType::kF32);
  EXPECT_EQ(info.kv_bytes_per_token, kBlockBytes / 64);
  EXPECT_EQ(info.kv_bytes_max, 4 * kBlockBytes);
  // 64 x 64 q and o, 32 x 64 k and v, three 96 x 64 of the MLP, two norms; embedding, head, norm.
  const std::uint64_t layer = 4 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64 + 2 * 64);
  EXPECT_EQ(info.weight_bytes, kLayers * layer + 4 * (2 * 96 * 64 + 64));
  EXPECT_LT(info.weight_bytes_per_token, info.weight_bytes);
  EXPECT_EQ(whole->memory_bytes(), info.weight_bytes);

  const auto middle = load({1, 2});
  EXPECT_EQ(middle->info().weight_bytes, layer);
  EXPECT_EQ(middle->info().weight_bytes_per_token, layer);
  EXPECT_EQ(middle->info().layer_count, kLayers);
}

TEST_F(StageRun, MemoryFollowsTheCache) {
  const auto stage = load();
  const std::uint64_t weights = stage->info().weight_bytes;
  ASSERT_TRUE(stage->run(tick(1, 0, std::vector<std::int32_t>(65, 1)), {}).ok());
  EXPECT_EQ(stage->memory_bytes(), weights + 2 * kBlockBytes);
  Tick free;
  free.epoch = 5;
  free.number = 7;
  free.kv_ops.push_back({KvOp::Kind::kFree, 1, 0, 0});
  const auto output = stage->run(free, {});
  ASSERT_TRUE(output.ok()) << output.error().message;
  ASSERT_TRUE(output->result.has_value());
  EXPECT_EQ(output->result->number, 7U);
  EXPECT_EQ(stage->memory_bytes(), weights);
}

TEST_F(StageRun, EachStageGivesWhatTheNextTakes) {
  const auto first = load({0, 2});
  const auto second = load({2, kLayers});
  const auto whole = load();
  const Tick step = tick(1, 0, {3, 5, 7});
  const auto middle = first->run(step, {});
  ASSERT_TRUE(middle.ok()) << middle.error().message;
  ASSERT_TRUE(middle->hidden.has_value());
  EXPECT_FALSE(middle->result.has_value());
  EXPECT_EQ(middle->hidden->rows, 3);
  EXPECT_EQ(middle->hidden->bytes.size(), 3U * 64 * 4);
  const auto end = second->run(step, *middle->hidden);
  ASSERT_TRUE(end.ok()) << end.error().message;
  EXPECT_FALSE(end->hidden.has_value());
  const auto alone = whole->run(step, {});
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(end->result->epoch, 5U);
  EXPECT_EQ(end->result->sampled.at(0).id, alone->result->sampled.at(0).id);
  EXPECT_EQ(end->result->sampled.at(0).logprob, alone->result->sampled.at(0).logprob);
}

TEST_F(StageRun, ATickThatDoesNotFitChangesNothing) {
  const auto stage = load();
  ASSERT_TRUE(stage->run(tick(1, 0, {1, 2, 3}), {}).ok());
  expect_refused(*stage, tick(2, 0, {}), {}, "has no tokens");
  expect_refused(*stage, tick(2, 0, {96}), {}, "token id 96 is not in the vocabulary of 96");
  expect_refused(*stage, tick(2, 0, {-1}), {}, "token id -1");
  expect_refused(*stage, tick(2, 1, {1}), {}, "sequence 2 is unknown");
  expect_refused(*stage, tick(1, 2, {1}), {}, "sequence 1 has 3 tokens");
  expect_refused(*stage, tick(1, 3, std::vector<std::int32_t>(510, 1)), {}, "context of 512");
  expect_refused(*stage, tick(1, 0xffffffff, {1}), {}, "context of 512");
  expect_refused(*stage, tick(2, 0, std::vector<std::int32_t>(512, 1)), {}, "KV memory",
                 ErrorCode::kResourceLimit);
  expect_refused(*stage, tick(2, 0, {1}), hidden(1), "1 rows came, the tick has 0");
  Tick twice = tick(2, 0, {1});
  twice.entries.push_back(twice.entries.front());
  expect_refused(*stage, twice, {}, "twice");
  Tick wild = tick(2, 0, {1});
  wild.entries.front().sampling.emplace();
  wild.entries.front().sampling->top_p = 7;
  expect_refused(*stage, wild, {}, "top_p must be in [0, 1], not 7");
  Tick greedy = tick(2, 0, {1});
  greedy.entries.front().top_logprobs = 100000;
  expect_refused(*stage, greedy, {}, "top_logprobs");
  Tick op = tick(1, 3, {1});
  op.kv_ops.push_back({KvOp::Kind::kTruncate, 1, 0, 9});
  expect_refused(*stage, op, {}, "truncate");
  // After all of that the sequence goes on where it was.
  EXPECT_TRUE(stage->run(tick(1, 3, {4}), {}).ok());
}

TEST_F(StageRun, HiddenStatesAreCheckedAgainstThePlan) {
  const auto last = load({2, kLayers});
  const Tick step = tick(1, 0, {1, 2});
  expect_refused(*last, step, {}, "0 rows came, the tick has 2");
  expect_refused(*last, step, hidden(3), "3 rows came");
  Hidden wrong = hidden(2);
  wrong.cols = 32;
  expect_refused(*last, step, wrong, "32 columns of F32 came, the plan says 64 of F32");
  wrong = hidden(2);
  wrong.dtype = DType::kBF16;
  expect_refused(*last, step, wrong, "columns of BF16");
  wrong = hidden(2);
  wrong.bytes.pop_back();
  expect_refused(*last, step, wrong, "511 bytes came");
  wrong = hidden(2);
  wrong.rows = -2;
  expect_refused(*last, step, wrong, "-2 rows");
  EXPECT_TRUE(last->run(step, hidden(2)).ok());
}

TEST_F(StageRun, LogitsThatAreNoNumbersNameTheStage) {
  const auto last = load({2, kLayers});
  Hidden broken = hidden(1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(broken.bytes.data(), &nan, 4);
  const auto output = last->run(tick(1, 0, {1}), broken);
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().code, ErrorCode::kInternal);
  EXPECT_EQ(output.error().message, "layers [2, 3): the model's logits are not finite numbers");
  // The sequence can be freed and the stage goes on.
  Tick again = tick(1, 0, {1});
  again.kv_ops.push_back({KvOp::Kind::kFree, 1, 0, 0});
  EXPECT_TRUE(last->run(again, hidden(1)).ok());
}

TEST_F(StageRun, MlxsOwnOperationsAgree) {
  const std::vector<std::int32_t> tokens = {9, 8, 7, 6, 5, 4, 3, 2, 1};
  auto scores = [&](bool mlx) {
    options_.mlx_kernels = mlx;
    const auto stage = load();
    std::vector<float> logprobs;
    for (const auto& [begin, end] : {std::pair{0, 4}, std::pair{4, 9}}) {
      Tick step = tick(1, static_cast<std::uint32_t>(begin),
                       {tokens.begin() + begin, tokens.begin() + end});
      step.entries.front().score = true;
      const auto output = stage->run(step, {});
      EXPECT_TRUE(output.ok()) << output.error().message;
      if (!output.ok()) return logprobs;
      for (const auto& each : output->result->scores) logprobs.push_back(each.logprob);
    }
    EXPECT_EQ(stage->memory_bytes(), stage->info().weight_bytes + kBlockBytes);
    return logprobs;
  };
  const auto ours = scores(false);
  const auto theirs = scores(true);
  ASSERT_EQ(ours.size(), tokens.size() - 1);
  ASSERT_EQ(theirs.size(), ours.size());
  for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i], 1e-4) << i;
}

TEST_F(StageRun, DataThatBeginsAtAnyByteGivesTheSameBits) {
  for (const bool quantized : {false, true}) {
    std::vector<float> logprobs;
    for (int misalign = 0; misalign < 8; misalign += 3) {
      TinyCheckpoint::llama(kLayers, quantized).write(folder_.path(), misalign);
      for (const bool mlx : {false, true}) {
        options_.mlx_kernels = mlx;
        const auto output = load()->run(tick(1, 0, {3, 5, 7}), {});
        ASSERT_TRUE(output.ok()) << output.error().message;
        if (!mlx) logprobs.push_back(output->result->sampled.at(0).logprob);
      }
    }
    for (const float logprob : logprobs) EXPECT_EQ(logprob, logprobs.front());
  }
}

TEST_F(StageRun, RunsInAnotherThreadThanItWasLoadedIn) {
  for (const bool mlx : {false, true}) {
    options_.mlx_kernels = mlx;
    const auto here = load();
    const auto there = load();
    const auto expected = here->run(tick(1, 0, {3, 5, 7}), {});
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    float logprob = 0;
    std::string error;
    std::thread([&] {
      const auto output = there->run(tick(1, 0, {3, 5, 7}), {});
      if (output.ok()) {
        logprob = output->result->sampled.at(0).logprob;
      } else {
        error = output.error().message;
      }
    }).join();
    EXPECT_EQ(error, "");
    EXPECT_EQ(logprob, expected->result->sampled.at(0).logprob);
  }
}

TEST_F(StageRun, ScoresContinueOnlyAfterAScoredChunk) {
  const auto stage = load();
  Tick first = tick(1, 0, {1, 2});
  ASSERT_TRUE(stage->run(first, {}).ok());
  Tick second = tick(1, 2, {3, 4});
  second.entries.front().score = true;
  auto output = stage->run(second, {});
  ASSERT_EQ(output->result->scores.size(), 1U) << "nothing was kept of an unscored chunk";
  EXPECT_EQ(output->result->scores[0].position, 3U);
  Tick third = tick(1, 4, {5});
  third.entries.front().score = true;
  third.entries.front().sample = false;
  output = stage->run(third, {});
  ASSERT_EQ(output->result->scores.size(), 1U);
  EXPECT_EQ(output->result->scores[0].position, 4U);
  EXPECT_EQ(output->result->scores[0].id, 5);
  EXPECT_TRUE(output->result->sampled.empty());
}

TEST_F(StageRun, BadOptionsAreRefusedInOneLine) {
  StageOptions options = options_;
  options.folder = folder_ / "nothing";
  EXPECT_NE(load_error(options).find("config.json"), std::string::npos);
  options = options_;
  options.layers = {2, 9};
  EXPECT_NE(load_error(options).find("layers [2, 9) are not a range of the model's 3 layers"),
            std::string::npos);
  options.layers = {2, 2};
  EXPECT_NE(load_error(options).find("layers [2, 2)"), std::string::npos);
  options = options_;
  options.threads = -1;
  EXPECT_NE(load_error(options).find("threads"), std::string::npos);
  options = options_;
  options.kv_bytes_max = kBlockBytes - 1;
  EXPECT_NE(load_error(options).find("KV memory"), std::string::npos);
  if (!mlx::core::is_available(mlx::core::Device(mlx::core::Device::gpu))) {
    options = options_;
    options.gpu = true;
    EXPECT_NE(load_error(options).find("device gpu"), std::string::npos);
  }
}

TEST_F(StageRun, BrokenFoldersAreRefusedByName) {
  auto broken = [&](auto change, const std::string& part) {
    auto made = TinyCheckpoint::llama(kLayers, false);
    change(made);
    made.write(folder_.path());
    const std::string message = load_error(options_);
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  };
  const std::string key = "model.layers.1.mlp.up_proj.weight";
  broken([&](auto& made) { made.tensors().erase(key); }, "model.layers.1.mlp.up_proj");
  broken([&](auto& made) { made.tensors()["model.layers.1.odd.weight"] = made.tensors()[key]; },
         "model.layers.1.odd.weight");
  broken([&](auto& made) { made.tensors()[key].shape = {64, 96}; }, key);
  broken([&](auto& made) { made.config()["model_type"] = "gpt2"; }, "gpt2");
  broken([&](auto& made) { made.config()["hidden_size"] = "x"; }, "hidden_size");
  broken([&](auto& made) { made.config()["num_hidden_layers"] = 4; }, "model.layers.3");
}

TEST_F(StageRun, ProgressEndsAtTheTotal) {
  std::uint64_t last = 0;
  std::uint64_t all = 0;
  const auto loaded = Stage::load(options_, [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, total);
    last = done;
    all = total;
  });
  ASSERT_TRUE(loaded.ok());
  EXPECT_GT(all, 0U);
  EXPECT_EQ(last, all);
}

}  // namespace
}  // namespace tandem::stage
