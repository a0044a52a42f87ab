#include "config/json.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace tandem::config {
namespace {

std::string error_of(std::string_view text) {
  const auto result = parse_json(text, "f.json");
  return result.ok() ? "" : result.error().message;
}

TEST(ParseJson, ReadsEveryKindOfValue) {
  const auto result = parse_json(R"({"a":[1,-2,3.5,true,false,null,"x\u00e9"],"b":{}})", "f.json");
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->dump(), R"({"a":[1,-2,3.5,true,false,null,"xé"],"b":{}})");
}

TEST(ParseJson, ADuplicateKeyIsNamed) {
  EXPECT_EQ(error_of(R"({"a":1,"b":{"c":1,"c":2}})"), "f.json: the key \"c\" appears twice");
  EXPECT_EQ(error_of(R"({"a":{"c":1},"b":{"c":2}})"), "");
}

TEST(ParseJson, AnOrderedObjectKeepsTheTextsOrderAndRefusesTheSame) {
  const std::string text = R"({"z":1,"a":{"y":[{"n":1,"b":2}],"c":{}},"m":null})";
  const auto result = parse_ordered_json(text, "f.json");
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->dump(), text);
  EXPECT_EQ(parse_ordered_json(R"({"b":{"c":1,"d":0,"c":2}})", "f.json").error().message,
            "f.json: the key \"c\" appears twice");
  EXPECT_FALSE(parse_ordered_json(std::string(65, '[') + std::string(65, ']'), "f.json").ok());
}

TEST(ParseJson, AMessageIsShortHoweverLongTheText) {
  std::string text = "{\"a\": \"";
  for (int i = 0; i < 1000; ++i) text += "é";
  const std::string message = error_of(text);
  EXPECT_NE(message.find("is not JSON"), std::string::npos);
  EXPECT_LE(message.size(), 1003U);
  EXPECT_TRUE(message.ends_with("é...")) << message;
}

TEST(ParseJson, BrokenTextNamesTheByte) {
  EXPECT_NE(error_of("{\"a\":}").find("is not JSON at byte 6"), std::string::npos)
      << error_of("{\"a\":}");
  for (const char* text : {"", "{", "{}x", "{}{}", "[1,]", "{\"a\" 1}", "nul", "\"\xff\"", "1e999",
                           "'a'", "[01]", "NaN", "\"\\ud800\"", "\"a\nb\""}) {
    EXPECT_NE(error_of(text), "") << text;
    EXPECT_EQ(error_of(text).find('\n'), std::string::npos) << "one line for " << text;
  }
}

TEST(ParseJson, AZeroByteDoesNotEndTheText) {
  EXPECT_NE(error_of(std::string_view("{}\0junk", 7)), "");
  EXPECT_NE(error_of(std::string_view("{}\0", 3)), "");
}

TEST(ParseJson, NestingHasALimit) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(error_of(nested(kMaxJsonDepth)), "");
  EXPECT_EQ(error_of(nested(kMaxJsonDepth + 1)), "f.json: is nested deeper than 64 levels");
  EXPECT_NE(error_of(std::string(1'000'000, '[')), "");
}

class TextFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("tandem_json_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(TextFile, IsReadWhole) {
  const std::string text(200'000, 'x');
  std::ofstream(folder_ / "a") << text;
  const auto result = read_text_file(folder_ / "a");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result, text);
}

TEST_F(TextFile, OverTheLimitIsRefused) {
  std::ofstream(folder_ / "a") << "12345";
  EXPECT_TRUE(read_text_file(folder_ / "a", 5).ok());
  const auto result = read_text_file(folder_ / "a", 4);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kResourceLimit);
  EXPECT_NE(result.error().message.find("limit of 4 bytes"), std::string::npos);
}

TEST_F(TextFile, MissingFilesFoldersAndPipesAreNotRead) {
  EXPECT_EQ(read_text_file(folder_ / "no").error().code, ErrorCode::kNotFound);
  // What is there and cannot be read is no absent file.
  std::filesystem::create_directory(folder_ / "generation_config.json");
  const auto directory = read_text_file(folder_ / "generation_config.json");
  ASSERT_FALSE(directory.ok());
  EXPECT_EQ(directory.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(directory.error().message.find("generation_config.json: not a regular file"),
            std::string::npos);
  std::filesystem::create_symlink("loop", folder_ / "loop");
  const auto loop = read_text_file(folder_ / "loop");
  ASSERT_FALSE(loop.ok());
  EXPECT_EQ(loop.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(loop.error().message.find("loop: cannot be read: "), std::string::npos);
  // A character device that would never end.
  EXPECT_EQ(read_text_file("/dev/zero").error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace tandem::config
