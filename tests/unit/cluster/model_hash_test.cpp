#include "cluster/split/model_hash.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "support/safetensors_writer.h"
#include "support/temp_folder.h"

namespace tandem::cluster {
namespace {

using tandem::testing::FileTensor;
using tandem::testing::TempFolder;

FileTensor tensor(std::int64_t elements) {
  return {DType::kF32, {elements}, std::string(static_cast<std::size_t>(elements) * 4, 'x')};
}

std::map<std::string, FileTensor> untied() {
  return {{"model.embed_tokens.weight", tensor(10)}, {"model.layers.0.mlp.weight", tensor(3)},
          {"model.layers.1.mlp.weight", tensor(4)},  {"model.layers.1.norm.weight", tensor(1)},
          {"model.layers.2.mlp.weight", tensor(99)},  // past the count: an extra head
          {"model.norm.weight", tensor(2)},          {"lm_head.weight", tensor(20)}};
}

// `more`: members that follow.
std::string config_with(const std::string& more = "", int layers = 2) {
  return fmt::format(
      R"({{"model_type": "llama", "num_hidden_layers": {}, "hidden_size": 64,
           "intermediate_size": 96, "num_attention_heads": 4, "vocab_size": 96,
           "rms_norm_eps": 1e-5, "max_position_embeddings": 512{}}})",
      layers, more);
}

Result<std::string> hash_of(const std::map<std::string, FileTensor>& tensors,
                            const std::string& config = config_with()) {
  const TempFolder folder;
  tandem::testing::write_file(folder / "config.json", config);
  tandem::testing::write_file(folder / "model.safetensors",
                              tandem::testing::safetensors_file(tensors));
  return model_hash(folder.path());
}

TEST(ModelHash, TellsModelsApartAndNotTheirPlace) {
  const auto first = hash_of(untied());
  const auto again = hash_of(untied());
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(*first, *again);
  EXPECT_EQ(first->size(), 64);
  auto other_shape = untied();
  other_shape["model.norm.weight"] = tensor(3);
  auto other_name = untied();
  other_name["model.layers.0.extra"] = tensor(1);
  for (const auto& tensors : {other_shape, other_name}) {
    EXPECT_NE(*hash_of(tensors), *first);
  }
  EXPECT_NE(*hash_of(untied(), config_with(R"(, "rope_theta": 5000)")), *first);
}

TEST(ModelHash, DoesNotDependOnFieldsThatNobodyReads) {
  const auto first = hash_of(untied());
  ASSERT_TRUE(first.ok()) << first.error().message;
  for (const char* more : {R"(, "transformers_version": "5.0")", R"(, "x": {"y": [1, 2]})"}) {
    EXPECT_EQ(*hash_of(untied(), config_with(more)), *first) << more;
  }
  EXPECT_EQ(*hash_of(untied(), config_with(R"(, "rope_theta": 1e4)")),
            *hash_of(untied(), config_with(R"(, "rope_theta": 10000)")));
}

TEST(ModelHash, TellsTwoFineTunesOfOneShapeApart) {
  auto large = untied();
  large["model.layers.0.mlp.weight"] = tensor(10'000);
  const auto first = hash_of(large);
  ASSERT_TRUE(first.ok());
  std::string& bytes = large["model.layers.0.mlp.weight"].bytes;
  for (const std::size_t at : {std::size_t{0}, bytes.size() / 2 + 5, bytes.size() - 1}) {
    bytes[at] = 'y';
    EXPECT_NE(*hash_of(large), *first) << at;
    bytes[at] = 'x';
  }
  EXPECT_EQ(*hash_of(large), *first);
}

TEST(ModelHash, ABadFolderIsAnErrorThatNamesTheFile) {
  const auto missing = model_hash("/nowhere");
  ASSERT_FALSE(missing.ok());
  const auto layers = hash_of(untied(), config_with("", 0));
  ASSERT_FALSE(layers.ok());
  EXPECT_NE(layers.error().message.find("num_hidden_layers"), std::string::npos);
}

}  // namespace
}  // namespace tandem::cluster
