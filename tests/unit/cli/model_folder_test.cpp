#include "cli/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace tandem::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// A Hugging Face cache in a folder of its own.
class ModelFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "tandem-model-folder-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    environment_.hf_hub_cache = root_ / "hub";
    environment_.executable = root_ / "bin" / "tandem";
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const fs::path& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }

  fs::path root_;
  Environment environment_;
};

TEST_F(ModelFolder, AFolderIsTakenAsGiven) {
  fs::create_directories(root_ / "m");
  EXPECT_EQ(*find_model((root_ / "m").string(), environment_), root_ / "m");
}

TEST_F(ModelFolder, ARepoIsItsMainSnapshot) {
  write("hub/models--org--name/refs/main", "abc123\n");
  fs::create_directories(root_ / "hub/models--org--name/snapshots/abc123");
  EXPECT_EQ(*find_model("org/name", environment_),
            root_ / "hub/models--org--name/snapshots/abc123");
}

TEST_F(ModelFolder, ErrorsSayWhereItLooked) {
  const auto missing = find_model("org/name", environment_);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message, HasSubstr((root_ / "hub/models--org--name").string()));

  const auto path = find_model("./no/such/folder", environment_);
  ASSERT_FALSE(path.ok());
  EXPECT_THAT(path.error().message, HasSubstr("\"./no/such/folder\": no such folder"));

  write("file", "x");
  const auto file = find_model((root_ / "file").string(), environment_);
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr("must be a model folder"));
}

TEST_F(ModelFolder, ARefCannotLeaveTheCache) {
  write("hub/models--org--name/refs/main", "../../../secret");
  const auto found = find_model("org/name", environment_);
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error().message, HasSubstr("must name a snapshot"));
}

TEST_F(ModelFolder, AMissingSnapshotIsNamed) {
  write("hub/models--org--name/refs/main", "abc");
  const auto found = find_model("org/name", environment_);
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error().message, HasSubstr("snapshot abc"));
}

TEST_F(ModelFolder, TheInstalledEmbeddedModelComesFirst) {
  fs::create_directories(root_ / "share/tandem/models/tandem-demo");
  EXPECT_EQ(*find_model("", environment_), root_ / "share/tandem/models/tandem-demo");
}

TEST(HubCache, FollowsHuggingFacesOrder) {
  Environment environment;
  EXPECT_EQ(hub_cache(environment), fs::path());
  environment.home = "/h";
  EXPECT_EQ(hub_cache(environment), "/h/.cache/huggingface/hub");
  environment.xdg_cache_home = "/x";
  EXPECT_EQ(hub_cache(environment), "/x/huggingface/hub");
  environment.hf_home = "/hf";
  EXPECT_EQ(hub_cache(environment), "/hf/hub");
  environment.huggingface_hub_cache = "/old";
  EXPECT_EQ(hub_cache(environment), "/old");
  environment.hf_hub_cache = "/new";
  EXPECT_EQ(hub_cache(environment), "/new");
}

}  // namespace
}  // namespace tandem::cli
