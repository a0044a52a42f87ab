#include "models/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "models/loading/model_plan.h"
#include "unit/models/harness.h"
#include "unit/models/tiny_model.h"

namespace tandem::models::testing {
namespace {

constexpr int kLayers = 5;
constexpr int kTokens = 75;  // more than a KV page

struct Kind {
  const char* name;
  int bits;
  kernels::Activations activations;
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class DecoderBits : public ::testing::TestWithParam<Kind> {
 protected:
  DecoderBits() : folder_("bits"), seed_(std::random_device{}()), random_(seed_) {
    const Kind kind = GetParam();
    RecordProperty("seed", std::to_string(seed_));
    const std::string name = kind.name;
    TinyModel model = name.starts_with("latent")
                          ? latent_model(kLayers, kind.bits, seed_)
                          : grouped_model(kLayers, kind.bits, name.starts_with("experts"), seed_);
    model.write(folder_.path());
    std::uniform_int_distribution<int> id(0, 39);
    for (int i = 0; i < kTokens; ++i) ids_.push_back(id(random_));
  }

  std::vector<std::vector<float>> whole() {
    Machine machine(GetParam().activations);
    return Runner(folder_.path(), {0, kLayers}, machine, 1, kTokens).run({{0, 0, ids_}});
  }

  TempFolder folder_;
  std::uint64_t seed_;
  std::mt19937_64 random_;
  std::vector<int> ids_;
};

TEST_P(DecoderBits, SplitsThreadsAndChunksLeaveLogitsAsTheyAre) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const auto expected = whole();
  for (const std::vector<int>& cuts :
       {std::vector<int>{0, 2, 5}, {0, 1, 4, 5}, {0, 1, 2, 3, 4, 5}}) {
    Machine machine(GetParam().activations, static_cast<int>(cuts.size()) - 1);
    Runner runner(folder_.path(), cuts, machine, 1, kTokens);
    std::vector<std::vector<float>> got;
    std::uniform_int_distribution<int> size(1, 30);
    for (int at = 0; at < kTokens;) {
      const int end = std::min(kTokens, at + size(random_));
      for (auto& row : runner.run({{0, at, {ids_.begin() + at, ids_.begin() + end}}})) {
        got.push_back(std::move(row));
      }
      at = end;
    }
    EXPECT_EQ(got, expected) << cuts.size() - 1 << " ranges";
  }
}

TEST_P(DecoderBits, OthersInTheBatchLeaveLogitsAsTheyAre) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const auto expected = whole();
  Machine machine(GetParam().activations, 2);
  Runner runner(folder_.path(), {0, kLayers}, machine, 3, kTokens);
  std::vector<int> others(ids_.rbegin(), ids_.rend());
  const auto first = runner.run({{1, 0, {others.begin(), others.begin() + 9}},
                                 {0, 0, {ids_.begin(), ids_.begin() + 40}},
                                 {2, 0, {others.begin(), others.begin() + 1}}});
  EXPECT_TRUE(std::equal(first.begin() + 9, first.begin() + 49, expected.begin()));
  for (int at = 40; at < kTokens; ++at) {
    const auto rows = runner.run({{2, at - 39, {others[static_cast<std::size_t>(at)]}},
                                  {0, at, {ids_[static_cast<std::size_t>(at)]}}});
    ASSERT_EQ(rows[1], expected[static_cast<std::size_t>(at)]) << "position " << at;
  }
}

TEST_P(DecoderBits, LogitsAreFiniteAndFollowTheText) {
  const auto logits = whole();
  for (const auto& row : logits) {
    for (const float value : row) ASSERT_TRUE(std::isfinite(value)) << "seed " << seed_;
  }
  // Another first token changes every later row.
  ids_[0] = (ids_[0] + 1) % 40;
  const auto changed = whole();
  for (std::size_t i = 0; i < logits.size(); ++i) EXPECT_NE(logits[i], changed[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(Kinds, DecoderBits,
                         ::testing::Values(Kind{"grouped_f32", 0, kernels::Activations::kF32},
                                           Kind{"grouped_q4_int8", 4, kernels::Activations::kInt8},
                                           Kind{"experts_f32", 0, kernels::Activations::kF32},
                                           Kind{"experts_q8_int8", 8, kernels::Activations::kInt8},
                                           Kind{"experts_q4_bf16", 4, kernels::Activations::kBF16},
                                           Kind{"latent_f32", 0, kernels::Activations::kF32},
                                           Kind{"latent_q4_int8", 4, kernels::Activations::kInt8},
                                           Kind{"latent_q6_bf16", 6, kernels::Activations::kBF16}),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST(Decoder, CountsOnlyTheExpertsOfAToken) {
  TempFolder folder("count");
  grouped_model(2, 4, true, 1).write(folder.path());
  Machine machine(kernels::Activations::kF32);
  auto decoder = load(folder.path(), {0, 2}, machine.ops);
  ASSERT_TRUE(decoder.ok()) << decoder.error().message;
  const std::uint64_t held = (*decoder)->weight_bytes();
  const std::uint64_t read = (*decoder)->weight_bytes_per_token();
  // Layer 0 has 4 experts of 3 * 32 * 64 weights, of which a token reads 2; and it reads one of the
  // table's 40 rows. 4 bits a weight, and 8 bytes of float32 scale and bias for 32 of them.
  const auto bytes = [](std::uint64_t weights) { return weights / 2 + weights / 32 * 8; };
  const std::uint64_t unread = bytes(2 * 3 * 32 * 64) + bytes(39 * 64);
  EXPECT_NEAR(static_cast<double>(held - read), static_cast<double>(unread), unread * 0.1);
}

TEST(Decoder, TiedHeadIsHeldOnceAndReadOnce) {
  TempFolder folder("tied");
  TinyModel model = grouped_model(2, 0, false, 1);
  model.config()["tie_word_embeddings"] = true;
  model.tensors().erase("lm_head.weight");
  model.write(folder.path());
  Machine machine(kernels::Activations::kF32);
  auto both = load(folder.path(), {0, 2}, machine.ops);
  auto first = load(folder.path(), {0, 1}, machine.ops);
  auto last = load(folder.path(), {1, 2}, machine.ops);
  ASSERT_TRUE(both.ok() && first.ok() && last.ok());
  EXPECT_EQ((*both)->weight_bytes(), (*both)->weight_bytes_per_token());
  // Cut in two, both ends hold it; the kernels may pad its 40 rows.
  const std::uint64_t twice =
      (*first)->weight_bytes() + (*last)->weight_bytes() - (*both)->weight_bytes();
  EXPECT_GE(twice, 40U * 64 * 4);
  EXPECT_LE(twice, 64U * 64 * 4);
}

/// A model whose config.json ties the head, with this head in the folder.
TinyModel tied_with_head(bool equal, const std::string& head) {
  TinyModel model = grouped_model(2, 4, false, 1);
  model.config()["tie_word_embeddings"] = true;
  for (const char* part : {".weight", ".scales", ".biases"}) {
    auto& tensors = model.tensors();
    TinyTensor own = tensors[(equal ? "model.embed_tokens" : "lm_head") + std::string(part)];
    tensors.erase("lm_head" + std::string(part));
    tensors[head + part] = std::move(own);
  }
  return model;
}

TEST(Decoder, AStoredHeadThatDiffersFromATiedEmbeddingIsUsedAndSaidSo) {
  TempFolder folder("heads");
  Machine machine(kernels::Activations::kF32);
  for (const std::string head : {"lm_head", "language_model.lm_head"}) {
    tied_with_head(false, head).write(folder.path());
    auto other = load(folder.path(), {0, 2}, machine.ops);
    EXPECT_THAT(head_note(folder.path()), ::testing::HasSubstr(head + ".weight differs"));
    tied_with_head(true, head).write(folder.path());
    auto equal = load(folder.path(), {0, 2}, machine.ops);
    ASSERT_TRUE(other.ok() && equal.ok());
    EXPECT_EQ(head_note(folder.path()), "");
    EXPECT_GT((*other)->weight_bytes(), (*equal)->weight_bytes());
    const mx::array hidden = mx::ones({1, 64});
    EXPECT_FALSE(mx::array_equal((*other)->head(hidden), (*equal)->head(hidden)).item<bool>());
  }
}

TEST(Decoder, KvIsKeptInTheTypeOfTheTensorsWhateverTheConfigSays) {
  TempFolder folder("kv");
  Machine machine(kernels::Activations::kInt8);
  TinyModel model = grouped_model(2, 4, false, 1);  // float32 scales
  for (const char* said : {"bfloat16", "auto", "float32"}) {
    model.config()["torch_dtype"] = said;
    model.write(folder.path());
    auto decoder = load(folder.path(), {1, 2}, machine.ops);
    ASSERT_TRUE(decoder.ok()) << decoder.error().message;
    EXPECT_EQ(std::get<kernels::KvSpec>((*decoder)->kept()[0]).type, DType::kF32) << said;
  }
}

TEST(Decoder, ProgressRisesToItsTotal) {
  TempFolder folder("progress");
  latent_model(3, 4, 1).write(folder.path());
  Machine machine(kernels::Activations::kInt8);
  std::uint64_t last = 0;
  std::uint64_t total = 0;
  auto decoder = load(folder.path(), {1, 3}, machine.ops, [&](auto done, auto all) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, all);
    last = done;
    total = all;
  });
  ASSERT_TRUE(decoder.ok()) << decoder.error().message;
  EXPECT_GT(total, 0U);
  EXPECT_EQ(last, total);
}

}  // namespace
}  // namespace tandem::models::testing
