#include "models/model_bytes.h"

#include <gtest/gtest.h>

#include <string>

#include "unit/models/tiny_model.h"
#include "weights/weight_folder.h"

namespace tandem::models {
namespace {

using testing::grouped_model;
using testing::latent_model;
using testing::TempFolder;
using testing::TinyModel;

void expect_equal(const ModelBytes& one, const ModelBytes& other) {
  ASSERT_EQ(one.layers.size(), other.layers.size());
  for (std::size_t i = 0; i < one.layers.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "layer " << i);
    EXPECT_EQ(one.layers[i].held, other.layers[i].held);
    EXPECT_EQ(one.layers[i].loading, other.layers[i].loading);
    EXPECT_EQ(one.kv_page[i], other.kv_page[i]);
    EXPECT_EQ(one.work[i].read, other.work[i].read);
    EXPECT_EQ(one.work[i].expert, other.work[i].expert);
    EXPECT_EQ(one.work[i].flops, other.work[i].flops);
  }
  EXPECT_EQ(one.embedding.held, other.embedding.held);
  EXPECT_EQ(one.head.held, other.head.held);
  EXPECT_EQ(one.tied, other.tied);
}

TEST(ModelBytes, ConfigAloneSaysWhatTheHeadersOfAConvertedFolderSay) {
  for (const int bits : {0, 4, 8}) {
    for (int family = 0; family < 3; ++family) {
      SCOPED_TRACE(::testing::Message() << "family " << family << ", " << bits << " bits");
      const TinyModel tiny =
          family == 2 ? latent_model(3, bits, 1) : grouped_model(3, bits, family == 1, 1);
      const TempFolder folder("bytes");
      tiny.write(folder.path());
      const auto config = config::ModelConfig::load(folder.path());
      ASSERT_TRUE(config.ok()) << config.error().message;
      for (const bool tiles : {true, false}) {
        const ComputeKind kind{tiles, kernels::Activations::kBF16};
        auto weights = weights::WeightFolder::open(folder.path());
        ASSERT_TRUE(weights.ok());
        const auto real = model_bytes(*config, *weights, kind);
        const auto guessed = model_bytes(*config, kind);
        ASSERT_TRUE(real.ok() && guessed.ok());
        expect_equal(*real, *guessed);
      }
    }
  }
}

TEST(ModelBytes, AMixturesTokenReadsItsChosenExperts) {
  const TinyModel tiny = grouped_model(2, 0, true, 1);  // layer 1 is dense
  const TempFolder folder("bytes");
  tiny.write(folder.path());
  const auto config = config::ModelConfig::load(folder.path());
  ASSERT_TRUE(config.ok());
  const auto bytes = model_bytes(*config, {false, kernels::Activations::kF32});
  ASSERT_TRUE(bytes.ok());
  const LayerWork& routed = bytes->work[0];
  EXPECT_EQ(routed.experts, 4);
  EXPECT_EQ(routed.chosen, 2);
  EXPECT_EQ(routed.expert, 4U * 3 * 32 * 64);  // float32
  // Four projections of attention and the router.
  const std::uint64_t shared = 64U * 64 + 2U * 32 * 64 + 64U * 64 + 4U * 64;
  EXPECT_EQ(routed.read, 4 * shared);
  EXPECT_EQ(routed.read + 4 * routed.expert, bytes->layers[0].held);
  EXPECT_EQ(routed.flops, 2.0 * static_cast<double>(shared + 2U * 3 * 32 * 64));
  const LayerWork& dense = bytes->work[1];
  EXPECT_EQ(dense.experts, 0);
  EXPECT_EQ(dense.expert, 0U);
  EXPECT_EQ(dense.read, bytes->layers[1].held);
  EXPECT_EQ(dense.depth_flops, 4.0 * 4 * 16);
}

}  // namespace
}  // namespace tandem::models
