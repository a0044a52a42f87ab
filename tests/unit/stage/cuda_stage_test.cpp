// The stage on our own GPU kernels: which models it takes, and, on a machine with such a GPU, that
// it computes what the CPU does and the same bits however rows come together.

#include "stage/cuda_stage.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "stage/cuda_model.h"
#include "support/stages.h"
#include "support/temp_folder.h"
#include "unit/models/tiny_model.h"

namespace tandem::stage {
namespace {

using models::testing::TinyModel;
using models::testing::TinyTensor;
using tandem::testing::Stages;
using tandem::testing::TempFolder;

constexpr int kLayers = 3;
constexpr int kVocabulary = 96;

std::string bf16_bytes(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const auto half = static_cast<std::uint16_t>(bits >> 16);
    bytes.append(reinterpret_cast<const char*>(&half), 2);
  }
  return bytes;
}

/// The last has the sizes for which the kernels of experts keep their rows in registers.
enum class Family { kLlama, kQwen3, kMixture, kLargeMixture };
const char* name_of(Family family) {
  constexpr const char* kNames[] = {"Llama", "Qwen3", "Mixture", "LargeMixture"};
  return kNames[static_cast<std::size_t>(family)];
}

/// The least model that the kernels take: 4 bits in groups of 64, bf16 scales, heads of 128.
class SmallModel {
 public:
  explicit SmallModel(Family family, int bits = 4, int head_dim = 128)
      : large_(family == Family::kLargeMixture),
        experts_(large_                       ? 16
                 : family == Family::kMixture ? 12
                                              : 0),
        model_({{"model_type", experts_ > 0               ? "qwen3_moe"
                               : family == Family::kQwen3 ? "qwen3"
                                                          : "llama"},
                {"hidden_size", hidden()},
                {"intermediate_size", kInner},
                {"num_hidden_layers", kLayers},
                {"num_attention_heads", 4},
                {"num_key_value_heads", 2},
                {"head_dim", head_dim},
                {"vocab_size", kVocabulary},
                {"rms_norm_eps", 1e-5},
                {"max_position_embeddings", 4096},
                {"rope_theta", 10000.0},
                {"torch_dtype", "bfloat16"},
                {"tie_word_embeddings", false},
                {"moe_intermediate_size", expert_inner()},
                {"num_experts", experts_},
                {"num_experts_per_tok", large_ ? 8 : 4},
                {"norm_topk_prob", true},
                {"quantization", {{"bits", bits}, {"group_size", 64}}}},
               7),
        bits_(bits) {
    linear("model.embed_tokens", kVocabulary, hidden(), 1);
    linear("lm_head", kVocabulary, hidden());
    norm("model.norm", hidden());
    for (int i = 0; i < kLayers; ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      norm(layer + "input_layernorm", hidden());
      norm(layer + "post_attention_layernorm", hidden());
      linear(layer + "self_attn.q_proj", 4 * head_dim, hidden());
      linear(layer + "self_attn.k_proj", 2 * head_dim, hidden());
      linear(layer + "self_attn.v_proj", 2 * head_dim, hidden());
      linear(layer + "self_attn.o_proj", hidden(), 4 * head_dim);
      if (family != Family::kLlama) norm(layer + "self_attn.q_norm", head_dim);
      if (family != Family::kLlama) norm(layer + "self_attn.k_norm", head_dim);
      if (experts_ > 0) linear(layer + "mlp.gate", experts_, hidden());
      const std::string mlp = layer + (experts_ > 0 ? "mlp.switch_mlp." : "mlp.");
      const int inner = experts_ > 0 ? expert_inner() : kInner;
      linear(mlp + "gate_proj", inner, hidden(), 0, experts_);
      linear(mlp + "up_proj", inner, hidden(), 0, experts_);
      linear(mlp + "down_proj", hidden(), inner, 0, experts_);
    }
  }
  TinyModel& model() { return model_; }

 private:
  static constexpr int kInner = 384;
  int hidden() const { return large_ ? 2048 : 256; }
  int expert_inner() const { return large_ ? 768 : 128; }

  /// `count` matrices stacked, or 0: one.
  void linear(const std::string& module, int of_each, int cols, float gain = 0, int count = 0) {
    const float deviation = gain != 0 ? gain : 1 / std::sqrt(static_cast<float>(cols));
    const auto shape = [&](int width) {
      return count > 0 ? std::vector<std::int64_t>{count, of_each, width}
                       : std::vector<std::int64_t>{of_each, width};
    };
    const int rows = of_each * std::max(count, 1);
    TinyTensor words{DType::kU32, shape(cols * bits_ / 32), {}};
    for (int i = 0; i < rows * cols * bits_ / 8; ++i) {
      words.bytes.push_back(static_cast<char>(random_()));
    }
    std::normal_distribution<float> spread(1, 0.2F);
    const auto levels = static_cast<float>((1 << bits_) - 1);
    std::vector<float> scales, biases;
    for (int i = 0; i < rows * cols / 64; ++i) {
      scales.push_back(deviation * 3.5F / levels * spread(random_));
      biases.push_back(-scales.back() * levels / 2 * spread(random_));
    }
    model_.tensors()[module + ".weight"] = std::move(words);
    model_.tensors()[module + ".scales"] = {DType::kBF16, shape(cols / 64), bf16_bytes(scales)};
    model_.tensors()[module + ".biases"] = {DType::kBF16, shape(cols / 64), bf16_bytes(biases)};
  }
  void norm(const std::string& module, int size) {
    std::normal_distribution<float> spread(1, 0.2F);
    std::vector<float> values;
    for (int i = 0; i < size; ++i) values.push_back(spread(random_));
    model_.tensors()[module + ".weight"] = {DType::kBF16, {size}, bf16_bytes(values)};
  }

  bool large_;
  int experts_;
  TinyModel model_;
  int bits_;
  std::mt19937 random_{11};
};

std::string why_not(SmallModel small) {
  TempFolder folder;
  small.model().write(folder.path());
  const auto config = config::ModelConfig::load(folder.path());
  const auto model = models::architecture_of(*config);
  auto weights = weights::WeightFolder::open(folder.path());
  const auto plan = models::plan_model(*config, *weights, *model);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  const auto shape = cuda_shape(*model, *plan, {0, kLayers});
  return shape.ok() ? "" : shape.error().message;
}

TEST(CudaModel, TakesModelsInFourBits) {
  for (const Family family : {Family::kLlama, Family::kQwen3, Family::kMixture}) {
    EXPECT_EQ(why_not(SmallModel(family)), "") << name_of(family);
  }
}

TEST(CudaModel, NamesWhatItDoesNotTake) {
  EXPECT_THAT(why_not(SmallModel(Family::kLlama, 8)), ::testing::HasSubstr("4 bits"));
  EXPECT_THAT(why_not(SmallModel(Family::kLlama, 4, 64)), ::testing::HasSubstr("heads"));
  SmallModel windows(Family::kLlama);
  windows.model().config()["model_type"] = "mistral";
  windows.model().config()["sliding_window"] = 70;
  EXPECT_THAT(why_not(windows), ::testing::HasSubstr("windows"));
  SmallModel odd(Family::kMixture);
  odd.model().config()["num_experts_per_tok"] = 3;
  EXPECT_THAT(why_not(odd), ::testing::HasSubstr("3 experts"));
  SmallModel shares(Family::kMixture);
  shares.model().config()["norm_topk_prob"] = false;
  EXPECT_THAT(why_not(shares), ::testing::HasSubstr("softmax"));
}

/// Log-probabilities after each token of a sequence, of all of the vocabulary.
using Trace = std::vector<std::vector<TokenLogprob>>;

class OnTheGpu : public ::testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (auto device = cuda::Executor::usable_device(); !device.ok()) {
      GTEST_SKIP() << device.error().message;
    }
    SmallModel(GetParam()).model().write(folder_.path());
    std::mt19937 random(3);
    for (int i = 0; i < kTokens; ++i) {
      tokens_.push_back(static_cast<std::int32_t>(random() % kVocabulary));
    }
    const std::string reason = why_no_cuda_stage(options(true, kernels::Activations::kBF16));
    ASSERT_EQ(reason, "");
  }
  StageOptions options(bool gpu, kernels::Activations activations) const {
    StageOptions options;
    options.folder = folder_.path();
    options.gpu = gpu;
    options.activations = activations;
    options.threads = 2;
    options.kv_bytes_max = std::uint64_t{1} << 30;
    return options;
  }
  Stages gpu(std::vector<int> cuts = {}) const {
    return {options(true, kernels::Activations::kBF16), std::move(cuts), kLayers};
  }
  TickEntry entry(std::uint64_t sequence, int first, int count) const {
    TickEntry entry;
    entry.sequence = sequence;
    entry.position = static_cast<std::uint32_t>(first);
    entry.tokens.assign(tokens_.begin() + first, tokens_.begin() + first + count);
    for (int row = 0; row < count; ++row) {
      entry.wants.push_back({Want::Kind::kScore, static_cast<std::uint32_t>(row), 0, kVocabulary});
    }
    if (first == 0) entry.sampling = SamplingParams{};
    return entry;
  }
  static void run(Stages& stages, Tick tick, std::vector<Trace*> to) {
    static std::uint64_t number = 0;
    tick.number = ++number;
    const auto result = stages.run(tick);
    ASSERT_TRUE(result.ok()) << result.error().message;
    for (std::size_t i = 0; i < to.size(); ++i) {
      ASSERT_FALSE(result->entries[i].error) << result->entries[i].error->message;
      for (const TokenResult& token : result->entries[i].tokens) to[i]->push_back(token.top);
    }
  }
  /// The whole sequence in chunks of `chunk`.
  Trace trace(Stages stages, int chunk) const {
    Trace all;
    for (int at = 0; at < kTokens; at += chunk) {
      run(stages, {.state_ops = {}, .entries = {entry(1, at, std::min(chunk, kTokens - at))}},
          {&all});
    }
    return all;
  }

  static constexpr int kTokens = 600;
  TempFolder folder_;
  std::vector<std::int32_t> tokens_;
};

void expect_same_bits(const Trace& ours, const Trace& reference, const std::string& what) {
  ASSERT_EQ(ours.size(), reference.size()) << what;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    for (std::size_t j = 0; j < reference[i].size(); ++j) {
      ASSERT_EQ(ours[i][j].id, reference[i][j].id) << what << ", position " << i;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(ours[i][j].logprob),
                std::bit_cast<std::uint32_t>(reference[i][j].logprob))
          << what << ", position " << i;
    }
  }
}

/// Root of the mean square of differences.
double distance(const Trace& ours, const Trace& reference) {
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    std::vector<float> by_id(kVocabulary);
    for (const auto& each : ours.at(i)) by_id[static_cast<std::size_t>(each.id)] = each.logprob;
    for (const auto& each : reference[i]) {
      const double off = by_id[static_cast<std::size_t>(each.id)] - each.logprob;
      sum += off * off;
      ++count;
    }
  }
  return std::sqrt(sum / static_cast<double>(count));
}

TEST_P(OnTheGpu, ComputesWhatTheCpuDoes) {
  const auto cpu = [&](kernels::Activations activations) {
    return trace({options(false, activations), {}, kLayers}, kTokens);
  };
  const Trace exact = cpu(kernels::Activations::kF32);
  const double allowed = 2 * distance(cpu(kernels::Activations::kBF16), exact);
  const double off = distance(trace(gpu(), kTokens), exact);
  RecordProperty("off", std::to_string(off));
  EXPECT_LE(off, allowed);
  EXPECT_GT(off, 0);
  // A rank on the GPU before one on the CPU, and after it, with what comes between in float32.
  for (const bool gpu_first : {true, false}) {
    StageOptions first = options(gpu_first, kernels::Activations::kInt8);
    StageOptions second = options(!gpu_first, kernels::Activations::kInt8);
    first.layers = {0, 1};
    second.layers = {1, kLayers};
    const auto front = Stage::load(first, {}), back = Stage::load(second, {});
    ASSERT_TRUE(front.ok() && back.ok());
    Tick tick{.number = 1, .state_ops = {}, .entries = {entry(1, 0, kTokens)}};
    const auto between = (*front)->run(tick, {});
    ASSERT_TRUE(between.ok()) << between.error().message;
    const auto result = (*back)->run(tick, *between->hidden);
    ASSERT_TRUE(result.ok()) << result.error().message;
    Trace mixed;
    for (const auto& token : result->result->entries[0].tokens) mixed.push_back(token.top);
    EXPECT_LE(distance(mixed, exact),
              allowed + 2 * distance(cpu(kernels::Activations::kInt8), exact));
  }
}

TEST_P(OnTheGpu, GivesARowTheSameBitsHoweverItComes) {
  const Trace whole = trace(gpu(), kTokens);
  expect_same_bits(trace(gpu(), 1), whole, "a token at a time, by the one kernel");
  for (const int chunk : {3, 8, 13, 30, 64, 100}) {
    expect_same_bits(trace(gpu(), chunk), whole, "chunks of " + std::to_string(chunk));
  }
  expect_same_bits(trace(gpu({1}), 64), whole, "two stages");
  expect_same_bits(trace(gpu({1}), 1), whole, "two stages, a token at a time");
}

TEST_P(OnTheGpu, GivesARowTheSameBitsBesideOthers) {
  const Trace whole = trace(gpu(), kTokens);
  Stages stages = gpu();
  constexpr int kSequences = 5;
  std::vector<Trace> traces(kSequences);
  std::vector<int> done(kSequences, 0);
  std::mt19937 random(5);
  while (*std::min_element(done.begin(), done.end()) < kTokens) {
    Tick tick;
    std::vector<Trace*> to;
    for (int s = 0; s < kSequences; ++s) {
      auto& at = done[static_cast<std::size_t>(s)];
      const int count = std::min(static_cast<int>(1 + random() % 20), kTokens - at);
      if (count == 0 || random() % 4 == 0) continue;
      tick.entries.push_back(entry(static_cast<std::uint64_t>(s + 1), at, count));
      to.push_back(&traces[static_cast<std::size_t>(s)]);
      at += count;
    }
    if (!tick.entries.empty()) run(stages, tick, to);
  }
  for (const Trace& each : traces) expect_same_bits(each, whole, "beside other sequences");
}

TEST_P(OnTheGpu, ForksAndRewindsInTheMiddleOfABlock) {
  const Trace whole = trace(gpu(), kTokens);
  Stages stages = gpu();
  Trace source, fork, again;
  run(stages, {.state_ops = {}, .entries = {entry(1, 0, 300)}}, {&source});
  run(stages,
      {.state_ops = {{StateOp::Kind::kFork, 2, 1, 200}, {StateOp::Kind::kRewind, 1, 0, 100}},
       .entries = {entry(2, 200, 50), entry(1, 100, 50)}},
      {&fork, &again});
  run(stages,
      {.state_ops = {{StateOp::Kind::kFree, 1, 0, 0}},
       .entries = {entry(2, 250, 1), entry(3, 0, 70)}},
      {&fork, &source});
  expect_same_bits(fork, {whole.begin() + 200, whole.begin() + 251}, "a fork");
  expect_same_bits(again, {whole.begin() + 100, whole.begin() + 150}, "after a rewind");
  EXPECT_EQ(stages.at(0).info().states.size(), 1U);
}

/// A draw that wants no candidates, penalties or filters is made on the device.
TEST_P(OnTheGpu, DrawsTheSameWithAndWithoutLogits) {
  Stages stages = gpu();
  constexpr std::uint64_t kPairs = 60;
  Tick tick{.number = 1, .state_ops = {}, .entries = {}};
  for (std::uint64_t sequence = 0; sequence < 2 * kPairs; ++sequence) {
    TickEntry each = entry(sequence + 1, 0, 20);
    each.wants = {{.row = 19}};
    if (sequence % 2 == 0) each.wants.front().top_logprobs = 1;
    const float temperatures[] = {0, 1, 0.7F, 20};
    each.sampling->temperature = temperatures[sequence / 2 % 4];
    each.sampling->seed = sequence / 2;
    tick.entries.push_back(each);
  }
  const auto result = stages.run(tick);
  ASSERT_TRUE(result.ok()) << result.error().message;
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < 2 * kPairs; i += 2) {
    const EntryResult& full = result->entries[i];
    const EntryResult& device = result->entries[i + 1];
    ASSERT_FALSE(full.error) << full.error->message;
    ASSERT_FALSE(device.error) << device.error->message;
    EXPECT_EQ(device.tokens.at(0).id, full.tokens.at(0).id) << "seed " << i / 2;
    EXPECT_NEAR(device.tokens.at(0).logprob, full.tokens.at(0).logprob, 1e-5F);
    ids.push_back(full.tokens.at(0).id);
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_GT(std::unique(ids.begin(), ids.end()) - ids.begin(), 15);
}

TEST_P(OnTheGpu, NamesLogitsThatAreNoNumbers) {
  SmallModel broken(GetParam());
  std::string& norm = broken.model().tensors()["model.norm.weight"].bytes;
  norm[0] = static_cast<char>(0xff);  // 0x7fff: a NaN
  norm[1] = 0x7f;
  TempFolder folder;
  broken.model().write(folder.path());
  StageOptions wanted = options(true, kernels::Activations::kBF16);
  wanted.folder = folder.path();
  Stages stages(wanted, {}, kLayers);
  TickEntry draw = entry(1, 0, 5);
  draw.wants = {{.row = 4}};
  const auto result = stages.run({.number = 1, .state_ops = {}, .entries = {draw}});
  ASSERT_TRUE(result.ok()) << result.error().message;
  ASSERT_TRUE(result->entries[0].error);
  EXPECT_THAT(result->entries[0].error->message, ::testing::HasSubstr("not finite"));
}

INSTANTIATE_TEST_SUITE_P(Families, OnTheGpu,
                         ::testing::Values(Family::kLlama, Family::kQwen3, Family::kMixture,
                                           Family::kLargeMixture),
                         [](const auto& family) { return name_of(family.param); });

}  // namespace
}  // namespace tandem::stage
