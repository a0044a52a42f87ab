#include "weights/weight_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/platform.h"
#include "support/safetensors_writer.h"
#include "support/temp_folder.h"

namespace tandem::weights {
namespace {

namespace fs = std::filesystem;
using tandem::testing::f32_tensor;
using tandem::testing::FileTensor;
using tandem::testing::safetensors_file;
using tandem::testing::write_file;

class Folder : public ::testing::Test {
 protected:
  void shard(const std::string& name, const std::map<std::string, FileTensor>& tensors) {
    write_file(folder_ / name, safetensors_file(tensors));
  }
  void index(const nlohmann::json& weight_map) {
    write_file(folder_ / "model.safetensors.index.json",
               nlohmann::json{{"weight_map", weight_map}}.dump());
  }
  std::string error() const {
    const auto result = WeightFolder::open(folder_.path());
    return result.ok() ? "" : result.error().message;
  }
  static bool says(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos && text.find('\n') == std::string::npos;
  }

  tandem::testing::TempFolder folder_;
  const FileTensor a_ = f32_tensor({2}, {1, 2});
  const FileTensor b_ = f32_tensor({1, 3}, {3, 4, 5});
};

TEST_F(Folder, ASingleFileGivesItsTensors) {
  shard("model.safetensors", {{"a", a_}, {"b", b_}});
  auto weights = WeightFolder::open(folder_.path());
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  EXPECT_EQ(weights->names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(weights->total_bytes(), 20U);
  const auto tensor = weights->take("b");
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(tensor->shape, (std::vector<std::int64_t>{1, 3}));
  ASSERT_EQ(tensor->bytes.size(), 12U);
  EXPECT_EQ(std::memcmp(tensor->bytes.data(), b_.bytes.data(), 12), 0);
  EXPECT_EQ(weights->unused(), (std::vector<std::string>{"a"}));
  weights->skip("a");
  weights->skip("unknown");
  EXPECT_TRUE(weights->unused().empty());
}

TEST_F(Folder, DataAtAnyOffsetComesAligned) {
  for (int misalign = 0; misalign < 8; ++misalign) {
    const std::map<std::string, FileTensor> tensors = {{"a", a_}};
    write_file(folder_ / "model.safetensors", safetensors_file(tensors, misalign));
    for (const auto alignment : {Alignment::kDtype, Alignment::kAny}) {
      auto weights = WeightFolder::open(folder_.path(), alignment);
      ASSERT_TRUE(weights.ok());
      const auto tensor = weights->take("a");
      ASSERT_TRUE(tensor.ok());
      const auto begin = reinterpret_cast<std::uintptr_t>(tensor->bytes.data());
      const auto wanted = alignment == Alignment::kDtype ? 0U : static_cast<unsigned>(misalign % 4);
      EXPECT_EQ(begin % 4, wanted) << "only kDtype copies";
      EXPECT_EQ(std::memcmp(tensor->bytes.data(), a_.bytes.data(), 8), 0) << misalign;
    }
  }
}

TEST_F(Folder, AMissingTensorOrAnotherShapeIsNamed) {
  shard("model.safetensors", {{"b", b_}, {"e", {DType::kU8, {0, 4}, ""}}});
  auto weights = WeightFolder::open(folder_.path());
  ASSERT_TRUE(weights.ok());
  EXPECT_TRUE(says(weights->take("c").error().message, "tensor \"c\" is missing"));
  const std::int64_t wrong[] = {-1, 4};
  EXPECT_TRUE(says(weights->take("b", wrong).error().message,
                   "tensor \"b\" must have the shape [any, 4], not [1, 3]"));
  const std::int64_t right[] = {-1, 3};
  EXPECT_TRUE(weights->take("b", right).ok());
  EXPECT_TRUE(weights->take("e")->bytes.empty());
}

TEST_F(Folder, ShardsAreFoundByTheIndexAndWithoutIt) {
  shard("model-00001-of-00002.safetensors", {{"a", a_}});
  shard("model-00002-of-00002.safetensors", {{"b", b_}});
  shard("consolidated.safetensors", {{"x", a_}});
  EXPECT_EQ(WeightFolder::open(folder_.path())->names(), (std::vector<std::string>{"a", "b"}));
  index({{"a", "model-00001-of-00002.safetensors"}, {"b", "model-00002-of-00002.safetensors"}});
  EXPECT_EQ(WeightFolder::open(folder_.path())->names(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(Folder, AStaleIndexLeavesTheFilesThatAreThere) {
  const std::vector<std::string> both{"a", "b"};
  shard("model-1.safetensors", {{"a", a_}});
  shard("model-2.safetensors", {{"b", b_}});
  index({{"a", "model-1.safetensors"}, {"b", "model-3.safetensors"}});
  EXPECT_EQ(WeightFolder::open(folder_.path())->names(), both) << "a shard that is gone";
  index({{"a", "model-2.safetensors"}, {"b", "model-1.safetensors"}});
  EXPECT_EQ(WeightFolder::open(folder_.path())->names(), both) << "the other way round";
  index({{"a", "model-1.safetensors"}});
  auto gaps = WeightFolder::open(folder_.path());
  EXPECT_EQ(gaps->names(), both) << "half an index";
  EXPECT_EQ(gaps->unused(), std::vector<std::string>{"a"}) << "what fills gaps may stay unread";
  index(nlohmann::json::object());
  EXPECT_EQ(WeightFolder::open(folder_.path())->names(), both) << "an empty index";
}

TEST_F(Folder, WhatOnlyTheIndexKnowsIsMissingWhenItIsTaken) {
  shard("model-1.safetensors", {{"a", a_}});
  index({{"a", "model-1.safetensors"}, {"c", "model-1.safetensors"}});
  auto weights = WeightFolder::open(folder_.path());
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  EXPECT_FALSE(weights->has("c"));
  EXPECT_TRUE(says(weights->take("c").error().message, "tensor \"c\" is missing"));
}

TEST_F(Folder, AFileBesideTheIndexedOnesNeitherRepeatsNorBreaksThem) {
  shard("model-1.safetensors", {{"a", a_}});
  shard("model-old.safetensors", {{"a", f32_tensor({1}, {9})}});
  write_file(folder_ / "model-broken.safetensors", "x");
  fs::create_symlink("nowhere", folder_ / "model-gone.safetensors");
  index({{"a", "model-1.safetensors"}});
  auto weights = WeightFolder::open(folder_.path());
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  EXPECT_EQ(weights->find("a")->shape, std::vector<std::int64_t>{2});
}

TEST_F(Folder, ATensorInTwoShardsOfTheModelIsRefused) {
  shard("model-1.safetensors", {{"a", a_}});
  shard("model-2.safetensors", {{"a", a_}, {"b", b_}});
  index({{"a", "model-1.safetensors"}, {"b", "model-2.safetensors"}});
  EXPECT_TRUE(says(error(), "is in both model-1.safetensors and model-2.safetensors"));
}

TEST_F(Folder, EarlyMlxLmNamesItsFilesWeights) {
  shard("weights.00.safetensors", {{"a", a_}});
  shard("weights.01.safetensors", {{"b", b_}});
  EXPECT_EQ(WeightFolder::open(folder_.path())->names(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(Folder, AnIndexNamesFilesAndNoPaths) {
  shard("model.safetensors", {{"a", a_}});
  fs::create_directory(folder_ / "sub");
  fs::copy(folder_ / "model.safetensors", folder_ / "sub/model.safetensors");
  for (const std::string name : {"sub/model.safetensors", "../model.safetensors", "/etc/passwd",
                                 "..", ".", "", "./model.safetensors", "model.bin",
                                 "a\\b.safetensors", ".safetensors", "a\n.safetensors"}) {
    index({{"a", name}});
    EXPECT_TRUE(says(error(), "is not the plain name")) << name << ": " << error();
  }
  index({{"a", 7}});
  EXPECT_TRUE(says(error(), "is not the plain name"));
  index("x");
  EXPECT_TRUE(says(error(), "has no weight_map object"));
  write_file(folder_ / "model.safetensors.index.json", R"({"weight_map":{"a":"m","a":"m"}})");
  EXPECT_TRUE(says(error(), "appears twice"));
}

TEST_F(Folder, ALinkMayLeadAnywhere) {
  tandem::testing::TempFolder elsewhere;
  write_file(elsewhere / "w", safetensors_file({{"a", a_}}));
  fs::create_symlink(elsewhere / "w", folder_ / "model.safetensors");
  EXPECT_EQ(error(), "");
  index({{"a", "model.safetensors"}});
  EXPECT_EQ(error(), "");
  const fs::path linked = elsewhere / "link";
  fs::create_directory_symlink(folder_.path(), linked);
  auto weights = WeightFolder::open(linked);
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  EXPECT_TRUE(weights->take("a").ok());
  fs::remove(folder_ / "model.safetensors");
  fs::create_symlink("dangling", folder_ / "model.safetensors");
  EXPECT_TRUE(says(error(), "model.safetensors: No such file"));
}

TEST_F(Folder, EmptyAndMissingFoldersAreRefused) {
  EXPECT_TRUE(says(error(), "holds no model*.safetensors"));
  EXPECT_FALSE(WeightFolder::open(folder_ / "no").ok());
  write_file(folder_ / "model.safetensors", "");
  EXPECT_TRUE(says(error(), "model.safetensors: is too short"));
  EXPECT_FALSE(WeightFolder::open(folder_ / "model.safetensors").ok());
  shard("model.safetensors", {});
  EXPECT_TRUE(says(error(), "holds no tensors"));
  fs::remove(folder_ / "model.safetensors");
  fs::create_directory(folder_ / "model.safetensors");
  EXPECT_TRUE(says(error(), "is not a regular file"));
}

TEST_F(Folder, AFileCutAfterItsValidationIsAnErrorNotACrash) {
  const std::string big(1 << 20, 'x');
  for (const int misalign : {0, 1}) {
    write_file(folder_ / "model.safetensors",
               safetensors_file({{"a", {DType::kU16, {1 << 19}, big}}}, misalign));
    auto weights = WeightFolder::open(folder_.path());
    ASSERT_TRUE(weights.ok());
    fs::resize_file(folder_ / "model.safetensors", 4096);
    const auto tensor = weights->take("a");
    ASSERT_FALSE(tensor.ok());
    EXPECT_TRUE(says(tensor.error().message, "changed its size")) << tensor.error().message;
  }
}

TEST_F(Folder, AFilePutInAShardsPlaceIsNotTaken) {
  shard("model.safetensors", {{"a", a_}});
  auto weights = WeightFolder::open(folder_.path());
  ASSERT_TRUE(weights.ok());
  shard("other", {{"a", f32_tensor({2}, {8, 9})}});
  fs::rename(folder_ / "other", folder_ / "model.safetensors");
  const auto tensor = weights->take("a");
  ASSERT_FALSE(tensor.ok());
  EXPECT_TRUE(says(tensor.error().message, "another file took its place"));
  fs::remove(folder_ / "model.safetensors");
  const auto removed = weights->take("a");
  ASSERT_FALSE(removed.ok());
  EXPECT_TRUE(says(removed.error().message, "cannot be opened"));
}

TEST_F(Folder, ShardsAreNotHeldOpen) {
  // A new descriptor is the lowest that is free.
  const auto lowest = [] {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(fd);
    return fd;
  };
  for (int i = 0; i < 5; ++i) {
    shard("model-" + std::to_string(i) + ".safetensors",
          {{std::string("t") + std::to_string(i), a_}});
  }
  const int before = lowest();
  ASSERT_GE(before, 0);
  auto weights = WeightFolder::open(folder_.path());
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  const auto first = weights->take("t0");
  const auto last = weights->take("t4");
  ASSERT_TRUE(first.ok() && last.ok());
  EXPECT_EQ(lowest(), before);
  EXPECT_EQ(std::memcmp(first->bytes.data(), a_.bytes.data(), a_.bytes.size()), 0);
}

TEST_F(Folder, OnlyTakenTensorsBecomeResident) {
  const std::size_t bytes = std::size_t{64} << 20;
  const FileTensor half{DType::kU8, {static_cast<std::int64_t>(bytes)}, std::string(bytes, 'x')};
  shard("model.safetensors", {{"mine", half}, {"other", half}});
  auto weights = WeightFolder::open(folder_.path());
  ASSERT_TRUE(weights.ok());
  const auto before = platform::resident_bytes();
  const auto tensor = weights->take("mine");
  ASSERT_TRUE(tensor.ok());
  unsigned sum = 0;
  for (std::size_t i = 0; i < bytes; i += 4096) sum += std::to_integer<unsigned>(tensor->bytes[i]);
  EXPECT_EQ(sum, 'x' * (bytes / 4096));
  const auto grown = platform::resident_bytes() - before;
  EXPECT_GE(grown, bytes / 2);
  EXPECT_LE(grown, bytes + (std::size_t{8} << 20));
}

}  // namespace
}  // namespace tandem::weights
