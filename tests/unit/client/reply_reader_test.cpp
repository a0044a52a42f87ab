#include "client/reply_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tandem::client {
namespace {

using ::testing::HasSubstr;

bool brings_text(const char* event) {
  auto piece = read_event(event);
  EXPECT_TRUE(piece.ok()) << event;
  return piece.ok() && piece->text;
}

TEST(ReadEvent, KnowsWhatIsPartOfTheAnswer) {
  EXPECT_TRUE(brings_text(R"({"choices":[{"text":"a"}]})"));
  EXPECT_TRUE(brings_text(R"({"choices":[{"delta":{"content":"a"}}]})"));
  EXPECT_TRUE(brings_text(R"({"choices":[{"delta":{"reasoning_content":"a"}}]})"));
  EXPECT_TRUE(brings_text(R"({"choices":[{"delta":{"reasoning":"a"}}]})"));
  EXPECT_TRUE(brings_text(R"({"choices":[{"delta":{"tool_calls":[{"index":0}]}}]})"));
  EXPECT_FALSE(brings_text(R"({"choices":[{"text":""}]})"));
  EXPECT_FALSE(brings_text(R"({"choices":[{"delta":{"role":"assistant","content":""}}]})"));
  EXPECT_FALSE(brings_text(R"({"choices":[{"delta":{"content":null}}]})"));
  EXPECT_FALSE(brings_text(R"({"choices":[]})"));
  EXPECT_FALSE(brings_text(R"({"choices":7})"));
  EXPECT_FALSE(brings_text("{}"));
}

TEST(ReadEvent, Usage) {
  auto piece = read_event(
      R"({"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,
          "prompt_tokens_details":{"cached_tokens":2}}})");
  ASSERT_TRUE(piece.ok() && piece->usage);
  EXPECT_EQ(piece->usage->prompt_tokens, 7U);
  EXPECT_EQ(piece->usage->cached_tokens, 2U);
  EXPECT_EQ(piece->usage->completion_tokens, 3U);
  EXPECT_FALSE(read_event(R"({"usage":null})")->usage);
  auto strange = read_event(R"({"usage":{"prompt_tokens":-1,"completion_tokens":"x"}})");
  ASSERT_TRUE(strange.ok() && strange->usage);
  EXPECT_EQ(strange->usage->prompt_tokens, 0U);
}

TEST(ReadEvent, ErrorsInTheServersWords) {
  for (const char* event :
       {R"({"error":{"message":"no room","code":null}})", R"({"error":"no room"})"}) {
    auto piece = read_event(event);
    ASSERT_FALSE(piece.ok());
    EXPECT_EQ(piece.error().message, "no room");
    EXPECT_EQ(piece.error().code, ErrorCode::kUnavailable);
  }
  for (const char* event : {"", "x", "[1]", "{\"a\":", "\"a\""}) {
    EXPECT_EQ(read_event(event).error().code, ErrorCode::kInternal) << event;
  }
}

TEST(ErrorMessage, FindsItOrShowsTheBeginning) {
  EXPECT_EQ(error_message(R"({"error":{"message":"wrong key"}})"), "wrong key");
  EXPECT_EQ(error_message(R"({"error":"wrong key"})"), "wrong key");
  EXPECT_EQ(error_message(R"({"object":"error","message":"wrong key"})"), "wrong key");
  EXPECT_EQ(error_message("<html>Not Found</html>"), "<html>Not Found</html>");
  EXPECT_EQ(error_message(""), "no reason given");
  EXPECT_LT(error_message(std::string(5000, 'x')).size(), 300U);
}

TEST(FirstModel, IdAndVocabulary) {
  auto model =
      first_model(R"({"data":[{"id":"a/b","meta":{"n_vocab":128256,"n_ctx":1}},{"id":"c"}]})");
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->id, "a/b");
  EXPECT_EQ(model->vocabulary, 128256);
  EXPECT_EQ(first_model(R"({"data":[{"id":"a"}]})")->vocabulary, 0);
  for (const char* body : {"", "[]", "{}", R"({"data":[]})", R"({"data":[{}]})", R"({"data":"a"})",
                           R"({"data":[{"id":7}]})"}) {
    EXPECT_EQ(first_model(body).error().code, ErrorCode::kUnavailable) << body;
  }
}

}  // namespace
}  // namespace tandem::client
