#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/text/tiny.h"

namespace tandem::text {
namespace {

using testing::added_token;
using testing::byte_fallback_tokenizer;
using testing::byte_level_tokenizer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::json;
using ::testing::StartsWith;
using testing::TempFolder;

using Ids = std::vector<std::int32_t>;

TEST(Tokenizer, EncodesAndDecodesText) {
  const TempFolder folder;
  folder.write("tokenizer.json", byte_level_tokenizer());
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_THAT(*tokenizer->encode("the th", false), ElementsAre(257, ' ', 256));
  EXPECT_THAT(*tokenizer->encode("", false), IsEmpty());
  EXPECT_EQ(*tokenizer->decode(Ids{257, ' ', 256}, false), "the th");
  EXPECT_EQ(*tokenizer->decode(Ids{}, false), "");
  EXPECT_EQ(tokenizer->vocabulary_size(), 261);
  EXPECT_EQ(tokenizer->token_to_id("<tool>"), 260);
  EXPECT_EQ(tokenizer->token_to_id("no such"), std::nullopt);
}

TEST(Tokenizer, AddsAndSkipsSpecialTokens) {
  const TempFolder folder;
  folder.write("tokenizer.json", byte_level_tokenizer());
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT(*tokenizer->encode("a<eos>b", true), ElementsAre(258, 'a', 259, 'b'));
  EXPECT_EQ(*tokenizer->decode(Ids{258, 'a', 259, 260, 'b'}, true), "a<tool>b");
  EXPECT_EQ(*tokenizer->decode(Ids{258, 'a', 259, 260, 'b'}, false), "<bos>a<eos><tool>b");
}

TEST(Tokenizer, IgnoresTheTruncationOfTheFile) {
  const TempFolder folder;
  folder.write("tokenizer.json", byte_level_tokenizer());  // asks for at most 4 tokens
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer->encode("abcdefghij", false)->size(), 10U);
}

TEST(Tokenizer, ByteLevelPiecesAreBytesWhateverDecoderTheFileNames) {
  const TempFolder folder;
  json file = byte_level_tokenizer();
  file["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  folder.write("tokenizer.json", file);
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->decode(*tokenizer->encode(" the é\n", false), true), " the é\n");
}

TEST(Tokenizer, ATextConfigsEosCountsWhereTheOuterObjectNamesNone) {
  for (const auto& [config, ids] :
       {std::pair{json{{"text_config", {{"eos_token_id", 7}}}}, Ids{7}},
        std::pair{json{{"eos_token_id", nullptr}, {"text_config", {{"eos_token_id", {7, 8}}}}},
                  Ids{7, 8}},
        std::pair{json{{"eos_token_id", 9}, {"text_config", {{"eos_token_id", 7}}}}, Ids{9}}}) {
    const TempFolder folder;
    folder.write("tokenizer.json", byte_level_tokenizer());
    folder.write("config.json", config);
    const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_EQ(tokenizer->eos_ids(), ids);
  }
}

TEST(Tokenizer, EosIdsComeFromEveryFile) {
  const TempFolder folder;
  folder.write("tokenizer.json", byte_level_tokenizer());
  folder.write("tokenizer_config.json", json{{"eos_token", {{"content", "<eos>"}}}});
  folder.write("config.json", json{{"eos_token_id", 7}});
  folder.write("generation_config.json", json{{"eos_token_id", {9, 7, 3}}});
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_THAT(tokenizer->eos_ids(), ElementsAre(3, 7, 9, 259));
}

TEST(Tokenizer, ConfigWinsOverSpecialTokensMap) {
  const TempFolder folder;
  folder.write("tokenizer.json", byte_level_tokenizer());
  folder.write("special_tokens_map.json", json{{"bos_token", "x"}, {"eos_token", "<eos>"}});
  folder.write("tokenizer_config.json", json{{"bos_token", "<bos>"}, {"pad_token", nullptr}});
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer->special_token("bos_token"), "<bos>");
  EXPECT_EQ(tokenizer->special_token("eos_token"), "<eos>");
  EXPECT_EQ(tokenizer->special_token("pad_token"), std::nullopt);
}

/// The error of loading a good tokenizer.json with one more file.
Error error_with(const std::string& name, const std::string& text) {
  const TempFolder folder;
  folder.write("tokenizer.json", byte_level_tokenizer());
  folder.write(name, text);
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  EXPECT_FALSE(tokenizer) << name << ": " << text;
  return tokenizer ? Error{} : tokenizer.error();
}

TEST(Tokenizer, MalformedFilesAreNamed) {
  struct Case {
    const char* file;
    const char* text;
    const char* field;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"tokenizer.json", "{", "tokenizer.json"},
           {"tokenizer.json", "[]", "tokenizer.json"},
           {"tokenizer.json", R"({"model": {"type": "Nope"}})", "tokenizer.json"},
           {"tokenizer.json", "\xFF\xFE", "UTF-8"},
           {"tokenizer_config.json", "{\"a\": }", "tokenizer_config.json"},
           {"tokenizer_config.json", "[1]", "JSON object"},
           {"tokenizer_config.json", R"({"eos_token": 5})", "eos_token"},
           {"tokenizer_config.json", R"({"bos_token": {"x": 1}})", "bos_token"},
           {"special_tokens_map.json", R"({"unk_token": []})", "unk_token"},
           {"config.json", R"({"eos_token_id": -1})", "eos_token_id"},
           {"config.json", R"({"eos_token_id": "2"})", "eos_token_id"},
           {"config.json", R"({"eos_token_id": 4294967296})", "eos_token_id"},
           {"config.json", R"({"eos_token_id": 18446744073709551615})", "eos_token_id"},
           {"generation_config.json", R"({"eos_token_id": [1, 2.5]})", "eos_token_id"},
           {"generation_config.json", R"({"eos_token_id": [[1]]})", "eos_token_id"}}) {
    const Error error = error_with(c.file, c.text);
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument) << c.file << ": " << c.text;
    EXPECT_THAT(error.message, HasSubstr(c.file)) << c.text;
    EXPECT_THAT(error.message, HasSubstr(c.field)) << c.text;
    EXPECT_EQ(error.message.find('\n'), std::string::npos);
  }
}

TEST(Tokenizer, VocabularyMustBeUsable) {
  json huge = byte_level_tokenizer();
  huge["model"]["vocab"]["the"] = 4294967295U;
  EXPECT_THAT(error_with("tokenizer.json", huge.dump()).message, HasSubstr("id 4294967295"));
  json empty = byte_level_tokenizer();
  empty["model"]["vocab"] = json::object();
  empty["model"]["merges"] = json::array();
  empty["added_tokens"] = json::array();
  empty["post_processor"] = nullptr;
  EXPECT_THAT(error_with("tokenizer.json", empty.dump()).message, HasSubstr("empty"));
  json merges = byte_level_tokenizer();
  merges["model"]["merges"] = {"no such"};
  EXPECT_THAT(error_with("tokenizer.json", merges.dump()).message, StartsWith("tokenizer.json"));
  std::string deep(100000, '[');
  EXPECT_THAT(error_with("tokenizer.json", deep).message, StartsWith("tokenizer.json"));
}

TEST(Tokenizer, NoFileIsNotFound) {
  const TempFolder folder;
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(tokenizer.error().message, HasSubstr("tokenizer.json"));
}

TEST(Tokenizer, RefusesWhatIsNoTextOrTooLong) {
  const TempFolder folder;
  folder.write("tokenizer.json", byte_level_tokenizer());
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer);
  for (const char* text : {"a\xFF", "\xC0\x80", "\xED\xA0\x80", "\xE2\x82"}) {
    const auto ids = tokenizer->encode(text, false);
    ASSERT_FALSE(ids);
    EXPECT_EQ(ids.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(ids.error().message, HasSubstr("UTF-8"));
  }
  const auto ids = tokenizer->encode(std::string(kMaxTextBytes + 1, 'a'), false);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, ErrorCode::kResourceLimit);
  EXPECT_FALSE(tokenizer->decode(Ids{-1}, false));
  EXPECT_EQ(*tokenizer->decode(Ids{'a', 1 << 30, 'b'}, false), "ab");
}

TEST(Tokenizer, RegexThatBacktracksForEverIsAnError) {
  json slow = byte_level_tokenizer();
  slow["pre_tokenizer"] = {{"type", "Split"},
                           {"pattern", {{"Regex", "(a|aa|a+)+(?=b)$"}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  const TempFolder folder;
  folder.write("tokenizer.json", slow);
  const Result<Tokenizer> tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto ids = tokenizer->encode(std::string(60, 'a'), false);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace tandem::text
