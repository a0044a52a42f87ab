#include "server/api/chat_messages.h"

#include <gtest/gtest.h>

#include <string>

#include "config/json.h"

namespace tandem::server {
namespace {

struct Read {
  Messages messages;
  std::optional<ApiError> error;
};

Read read(const std::string& messages) {
  auto json = config::parse_ordered_json(R"({"messages":)" + messages + "}", "body");
  if (!json) return {{}, ApiError{.message = json.error().message}};
  Fields fields(*json);
  Read out{read_messages(fields, RequestLimits{}), {}};
  fields.finish();
  if (fields.failed()) out.error = fields.error();
  return out;
}

std::string json_of(const std::string& messages) {
  const Read out = read(messages);
  return out.error ? out.error->message : out.messages.json;
}

std::string param_of(const std::string& messages) {
  const Read out = read(messages);
  return out.error ? out.error->param.value_or("none") : "accepted";
}

TEST(ChatMessages, PartsOfTextBecomeOneText) {
  EXPECT_EQ(json_of(R"([{"role":"user","content":[{"type":"text","text":"a"},)"
                    R"({"type":"text","text":"b"}]}])"),
            R"([{"role":"user","content":"ab"}])");
}

TEST(ChatMessages, ADeveloperIsTheSystem) {
  EXPECT_EQ(json_of(R"([{"role":"developer","content":"x"}])"),
            R"([{"role":"system","content":"x"}])");
}

TEST(ChatMessages, ArgumentsOfToolCallsStayTheTextThatTheyAre) {
  EXPECT_EQ(
      json_of(R"([{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"c",)"
              R"("type":"function","function":{"name":"f","arguments":"{\"z\":1,\"a\":2}"}}]},)"
              R"({"role":"tool","tool_call_id":"c","content":"r"}])"),
      R"([{"role":"assistant","content":"","tool_calls":[{"type":"function","id":"c",)"
      R"("function":{"name":"f","arguments":"{\"z\":1,\"a\":2}"}}]},)"
      R"({"role":"tool","content":"r","tool_call_id":"c"}])");
}

TEST(ChatMessages, AnErrorNamesItsPlace) {
  EXPECT_EQ(param_of("[]"), "messages");
  EXPECT_EQ(param_of("null"), "messages");
  EXPECT_EQ(param_of("[1]"), "messages[0]");
  EXPECT_EQ(param_of(R"([{"content":"x"}])"), "messages[0].role");
  EXPECT_EQ(param_of(R"([{"role":"robot","content":"x"}])"), "messages[0].role");
  EXPECT_EQ(param_of(R"([{"role":"user"}])"), "messages[0].content");
  EXPECT_EQ(param_of(R"([{"role":"user","content":[]}])"), "messages[0].content");
  EXPECT_EQ(param_of(R"([{"role":"user","content":"x"},{"role":"tool","content":"x"}])"),
            "messages[1].tool_call_id");
  EXPECT_EQ(param_of(R"([{"role":"user","content":[{"type":"image_url","image_url":{}}]}])"),
            "messages[0].content[0].type");
  EXPECT_EQ(param_of(R"([{"role":"assistant"}])"), "messages[0].content");
}

TEST(ChatMessages, WhatClientsSendBackOfAnAnswerIsPassedOver) {
  EXPECT_EQ(
      json_of(R"([{"role":"assistant","content":null,"refusal":null,"annotations":[],)"
              R"("audio":null,"parsed":{"x":1},"reasoning_details":[{}],"id":"m",)"
              R"("provider_specific_fields":{},"function_call":null,"tool_calls":)"
              R"([{"id":"c","type":"function","index":0,"function":{"name":"f",)"
              R"("arguments":"{}","parsed_arguments":{}},"provider":1}]},)"
              R"({"role":"user","content":[{"type":"text","text":"x","cache_control":{}}]}])"),
      R"([{"role":"assistant","content":"","tool_calls":[{"type":"function","id":"c",)"
      R"("function":{"name":"f","arguments":"{}"}}]},{"role":"user","content":"x"}])");
  EXPECT_EQ(json_of(R"([{"role":"assistant","content":null}])"),
            R"([{"role":"assistant","content":""}])");
  EXPECT_EQ(param_of(R"([{"role":"assistant","content":"x","audio":{"id":"a"}}])"),
            "messages[0].audio");
}

}  // namespace
}  // namespace tandem::server
