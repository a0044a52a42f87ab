#include "server/serving/model_text.h"

#include <gtest/gtest.h>

#include <string>

#include "support/safetensors_writer.h"
#include "support/temp_folder.h"

namespace tandem::server {
namespace {

Result<SamplingParams> recommended(const std::string& config) {
  const tandem::testing::TempFolder folder;
  tandem::testing::write_file(folder / "generation_config.json", config);
  return recommended_sampling(folder.path());
}

TEST(RecommendedSampling, FiltersThatAuthorsSwitchOffAreOff) {
  const auto off = recommended(R"({"top_k": -1, "top_p": 0, "min_p": 1, "typical_p": NaN})");
  ASSERT_TRUE(off.ok()) << off.error().message;
  EXPECT_EQ(off->top_k, 0);
  EXPECT_EQ(off->top_p, 1);
  EXPECT_EQ(off->min_p, 0);
  const auto on = recommended(R"({"top_k": 20, "top_p": 0.95, "min_p": 0.05})");
  ASSERT_TRUE(on.ok());
  EXPECT_EQ(on->top_k, 20);
  EXPECT_FLOAT_EQ(on->top_p, 0.95F);
  EXPECT_FLOAT_EQ(on->min_p, 0.05F);
  EXPECT_EQ(recommended(R"({"top_p": NaN})").error().message,
            "generation_config.json: top_p must be a number in [0, 1], not \"NaN\"");
}

}  // namespace
}  // namespace tandem::server
