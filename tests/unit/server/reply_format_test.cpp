#include "server/api/reply_format.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace tandem::server {
namespace {

const ReplyHead kHead{"chatcmpl-1", 7, "demo", "fp_1"};

ChoicePart part(std::string text, std::string finish = "") {
  ChoicePart out;
  out.output.content = std::move(text);
  out.finish = std::move(finish);
  return out;
}

TEST(ReplyFormat, AChatStreamOpensWithTheRoleAndClosesWithTheReason) {
  const auto format = chat_format(std::nullopt, false);
  const auto opening = format->opening(kHead, 2);
  ASSERT_TRUE(opening.has_value());
  EXPECT_EQ((*opening)["choices"][0].dump(),
            R"({"index":2,"delta":{"role":"assistant","content":""},"logprobs":null,)"
            R"("finish_reason":null})");
  EXPECT_EQ(format->chunk(kHead, part("hi"))["choices"][0]["delta"].dump(), R"({"content":"hi"})");
  const Json last = format->chunk(kHead, part("", "stop"));
  EXPECT_EQ(last["choices"][0]["delta"].dump(), "{}");
  EXPECT_EQ(last["choices"][0]["finish_reason"], "stop");
  EXPECT_FALSE(last.contains("usage"));
}

TEST(ReplyFormat, ChunksSayThatUsageFollowsWhenItDoes) {
  const auto format = chat_format(std::nullopt, true);
  EXPECT_TRUE(format->chunk(kHead, part("x")).at("usage").is_null());
  const Json usage = format->usage_chunk(kHead, {10, 4, 3, 1});
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"].dump(), R"({"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,)"
                                   R"("prompt_tokens_details":{"cached_tokens":4},)"
                                   R"("completion_tokens_details":{"reasoning_tokens":1}})");
}

TEST(ReplyFormat, AToolCallIsStreamedByIndexAndToldWholeWithout) {
  ChoicePart calls = part("", "tool_calls");
  calls.output.tools = {{0, "call_1", "f", "{\"a\":"}};
  const auto format = chat_format(std::nullopt, false);
  EXPECT_EQ(format->chunk(kHead, calls)["choices"][0]["delta"]["tool_calls"].dump(),
            R"([{"index":0,"id":"call_1","type":"function",)"
            R"("function":{"name":"f","arguments":"{\"a\":"}}])");
  ChoicePart more;
  more.output.tools = {{0, "", "", "1}"}};
  EXPECT_EQ(format->chunk(kHead, more)["choices"][0]["delta"]["tool_calls"].dump(),
            R"([{"index":0,"function":{"arguments":"1}"}}])");
  merge(calls, std::move(more));
  const Json message = format->whole(kHead, {calls}, {})["choices"][0]["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(
      message["tool_calls"].dump(),
      R"([{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}])");
}

TEST(ReplyFormat, ReasoningHasOneNameSoThatNobodyShowsItTwice) {
  ChoicePart thought = part("answer", "stop");
  thought.output.reasoning = "hm";
  const Json message =
      chat_format(std::nullopt, false)->whole(kHead, {thought}, {})["choices"][0]["message"];
  EXPECT_EQ(message["reasoning_content"], "hm");
  EXPECT_FALSE(message.contains("reasoning"));
  EXPECT_EQ(message["content"], "answer");
}

TEST(ReplyFormat, OffsetsOfStreamedCompletionsCountCharacters) {
  const auto format = completion_format(1, false);
  ChoicePart first = part("né");
  first.tokens = {{"n", -1.0F, {{"n", -1.0F}}}, {"é", -0.5F, {{"e", -0.25F}}}};
  const Json one = format->chunk(kHead, first)["choices"][0]["logprobs"];
  EXPECT_EQ(one["text_offset"].dump(), "[0,1]");
  EXPECT_EQ(one["top_logprobs"][1].dump(), R"({"e":-0.25,"é":-0.5})") << "the chosen one is added";
  ChoicePart second = part("x");
  second.tokens = {{"x", -1.0F, {}}};
  EXPECT_EQ(format->chunk(kHead, second)["choices"][0]["logprobs"]["text_offset"].dump(), "[2]");
}

TEST(ReplyFormat, APromptsFirstTokenHasNoProbability) {
  const std::vector<TokenText> tokens = {{"a", std::nullopt, {}}, {"b", -1.5F, {}}};
  const Json json = completion_logprobs(tokens, 0, true);
  EXPECT_EQ(json["token_logprobs"].dump(), "[null,-1.5]");
  EXPECT_TRUE(json["top_logprobs"][0].is_null());
  EXPECT_TRUE(completion_logprobs(tokens, 0, false)["top_logprobs"].is_null());
}

TEST(ReplyFormat, APartOfACharacterHasItsBytesAndInfinityIsANumber) {
  const std::string unknown = "\xEF\xBF\xBD";
  const std::vector<TokenText> tokens = {
      {unknown, -std::numeric_limits<float>::infinity(), {{unknown, -1, "\xA9"}}, "\xC3"},
      {"é", 0.0F, {}},
      {unknown, 0.0F, {}, unknown},
      {unknown, 0.0F, {}}};
  const Json content = chat_logprobs(tokens)["content"];
  EXPECT_EQ(content[0]["bytes"].dump(), "[195]");
  EXPECT_EQ(content[0]["top_logprobs"][0]["bytes"].dump(), "[169]");
  EXPECT_EQ(content[0]["logprob"], -9999.0);
  EXPECT_EQ(content[1]["bytes"].dump(), "[195,169]");
  EXPECT_EQ(content[2]["bytes"].dump(), "[239,191,189]") << "the character itself";
  EXPECT_TRUE(content[3]["bytes"].is_null());
}

TEST(ReplyFormat, OffsetsAreThoseOfTheText) {
  const std::string part = "\xEF\xBF\xBD";
  const std::vector<TokenText> tokens = {{"<s>", std::nullopt, {}, "<s>", ""},
                                         {" na", 0.0F, {}, " na", "na"},
                                         {part, 0.0F, {}, "\xC3"},
                                         {part, 0.0F, {}, "\xAF"},
                                         {"ve", 0.0F, {}, "ve"},
                                         {" x", 0.0F, {}, " x"}};
  EXPECT_EQ(completion_logprobs(tokens, 0, false)["text_offset"].dump(), "[0,0,2,2,3,5]");
}

TEST(ReplyFormat, TimingsAreOfTheTokensThatWereComputed) {
  const Json json = timings_json({12, 4, 10, 0}, {3, 16, 500});
  EXPECT_EQ(json["queue_ms"], 3);
  EXPECT_EQ(json["prompt_n"], 8);
  EXPECT_EQ(json["cache_n"], 4);
  EXPECT_EQ(json["prompt_per_second"], 500);
  EXPECT_EQ(json["predicted_per_second"], 20);
  EXPECT_EQ(timings_json({1, 1, 0, 0}, {})["prompt_per_token_ms"], 0);
}

}  // namespace
}  // namespace tandem::server
