#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "stage/stage.h"
#include "unit/stage/stage_fixture.h"

namespace tandem::stage {
namespace {

TEST_F(StageRun, InfoStatesWhatIsHeld) {
  const auto whole = load();
  const StageInfo& info = whole->info();
  EXPECT_EQ(info.layers, (LayerRange{0, kLayers}));
  EXPECT_EQ(info.layer_count, kLayers);
  EXPECT_EQ(info.hidden_size, TinyCheckpoint::kHidden);
  EXPECT_EQ(info.vocabulary, TinyCheckpoint::kVocabulary);
  EXPECT_EQ(info.context_max, 512);
  EXPECT_EQ(info.hidden_dtype, DType::kF32);
  EXPECT_EQ(info.kv_bytes_per_token(), kBlockBytes / 64);
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

// They are the array itself, which a link may still be sending.
TEST_F(StageRun, HiddenStatesStayWhenTheNextOnesAreComputed) {
  const auto stage = load({0, 2});
  std::vector<Hidden> outputs;
  std::vector<std::vector<std::byte>> copies;
  for (std::uint32_t position = 0; position < 20; position += 2) {
    auto output = stage->run(tick(1, position, {5, static_cast<std::int32_t>(position)}), {});
    ASSERT_TRUE(output.ok() && output->hidden);
    const SharedBytes& bytes = output->hidden->bytes;
    copies.emplace_back(bytes.data(), bytes.data() + bytes.size());
    outputs.push_back(std::move(*output->hidden));
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    EXPECT_EQ(outputs[i].bytes, SharedBytes(copies[i])) << i;
    EXPECT_TRUE(i == 0 || outputs[i].bytes != outputs[i - 1].bytes);
  }
}

TEST_F(StageRun, KvInEightBitsTakesAsManyBytesAsItSays) {
  options_.kv_bits = 8;
  const auto stage = load();
  // K and V of 2 heads of 16: a byte an element, and a scale a row.
  const std::uint64_t token = std::uint64_t{2} * 2 * (16 + 4) * kLayers;
  EXPECT_EQ(stage->info().kv_bytes_per_token(), token);
  const std::uint64_t weights = stage->memory_bytes();
  ASSERT_TRUE(stage->run(tick(1, 0, {3, 5, 7}), {}).ok());
  EXPECT_EQ(stage->memory_bytes(), weights + 64 * token);
  options_.activations = kernels::Activations::kBF16;
  EXPECT_EQ(load()->info().kv_bytes_per_token(), token);
}

TEST_F(StageRun, KvInEightBitsChangesLogitsALittle) {
  const auto logprob = [&](int bits) {
    options_.kv_bits = bits;
    Tick one = tick(1, 0, {3, 5, 7, 11, 2});
    want_scores(one.entries[0]);
    const auto output = load()->run(one, {});
    EXPECT_TRUE(output.ok());
    double sum = 0;
    for (const TokenResult& each : output->result->entries[0].tokens) sum += each.logprob;
    return sum;
  };
  const double exact = logprob(0);
  const double quantized = logprob(8);
  EXPECT_NE(exact, quantized);
  EXPECT_NEAR(exact, quantized, 0.2);
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
        if (!mlx) logprobs.push_back(last_token(output).logprob);
      }
    }
    for (const float logprob : logprobs) EXPECT_EQ(logprob, logprobs.front());
  }
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
  options.kv_bits = 4;
  EXPECT_EQ(load_error(options), "kv bits: must be 8, or 0 for the usual ones, not 4");
  options.kv_bits = 8;
  options.mlx_kernels = true;
  EXPECT_NE(load_error(options).find("kv bits: only the CPU's own kernels"), std::string::npos);
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
