#include "server/api/chat_request.h"

#include <gtest/gtest.h>

#include <string>

#include "config/json.h"

namespace tandem::server {
namespace {

RequestRules rules() {
  RequestRules out;
  out.defaults.temperature = 1;
  out.vocabulary = 100;
  out.template_tools = true;
  out.model_names = {"demo", "/models/demo"};
  return out;
}

/// The body with the least that a chat needs, and `fields` besides.
ApiResult<ChatRequest> parse(const std::string& fields, const RequestRules& by = rules()) {
  const std::string body = R"({"messages":[{"role":"user","content":"hi"}])" +
                           std::string(fields.empty() ? "" : ",") + fields + "}";
  auto json = config::parse_ordered_json(body, "body");
  if (!json) return ApiError{.message = json.error().message};
  return parse_chat(*json, by);
}

ApiError refused(const std::string& fields) {
  auto result = parse(fields);
  EXPECT_FALSE(result.ok()) << fields;
  return result.ok() ? ApiError{} : result.error();
}

TEST(ChatRequest, WhatIsNotSaidIsTheDefault) {
  auto request = parse("");
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->options.sampling.temperature, 1);
  EXPECT_EQ(request->options.sampling.presence_context, 0) << "the whole text";
  EXPECT_EQ(request->options.sampling.frequency_context, 0) << "the whole text";
  EXPECT_FALSE(request->options.max_tokens.has_value());
  EXPECT_EQ(request->options.n, 1);
  EXPECT_FALSE(request->options.stream);
  EXPECT_EQ(request->prompt.messages_json, R"([{"role":"user","content":"hi"}])");
  EXPECT_TRUE(request->prompt.add_generation_prompt);
}

TEST(ChatRequest, EveryFieldOfMlxLmIsRead) {
  auto request = parse(
      R"("model":"demo","stream":true,"stream_options":{"include_usage":true},"max_tokens":5,)"
      R"("max_completion_tokens":7,"temperature":0.5,"top_p":0.9,"top_k":4,"min_p":0.1,)"
      R"("repetition_penalty":1.1,"repetition_context_size":9,"presence_penalty":0.2,)"
      R"("presence_context_size":8,"frequency_penalty":0.3,"frequency_context_size":7,)"
      R"("xtc_probability":0.4,"xtc_threshold":0.2,"logit_bias":{"3":-5.5},"logprobs":true,)"
      R"("top_logprobs":2,"seed":-1,"stop":["a","b"],"chat_template_kwargs":{"x":1})");
  ASSERT_TRUE(request.ok()) << request.error().message;
  const SamplingParams& sampling = request->options.sampling;
  EXPECT_TRUE(request->options.stream && request->options.include_usage);
  EXPECT_EQ(request->options.max_tokens, 7);
  EXPECT_FLOAT_EQ(sampling.temperature, 0.5F);
  EXPECT_FLOAT_EQ(sampling.top_p, 0.9F);
  EXPECT_EQ(sampling.top_k, 4);
  EXPECT_FLOAT_EQ(sampling.min_p, 0.1F);
  EXPECT_FLOAT_EQ(sampling.repetition_penalty, 1.1F);
  EXPECT_EQ(sampling.repetition_context, 9);
  EXPECT_FLOAT_EQ(sampling.presence_penalty, 0.2F);
  EXPECT_EQ(sampling.presence_context, 8);
  EXPECT_FLOAT_EQ(sampling.frequency_penalty, 0.3F);
  EXPECT_EQ(sampling.frequency_context, 7);
  EXPECT_FLOAT_EQ(sampling.xtc_probability, 0.4F);
  EXPECT_FLOAT_EQ(sampling.xtc_threshold, 0.2F);
  ASSERT_EQ(sampling.logit_bias.size(), 1U);
  EXPECT_EQ(sampling.logit_bias[0], (std::pair<std::int32_t, float>(3, -5.5F)));
  EXPECT_EQ(request->logprobs, 2);
  EXPECT_EQ(request->options.seed, ~std::uint64_t{0});
  EXPECT_EQ(request->options.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request->prompt.kwargs_json, R"({"x":1})");
}

TEST(ChatRequest, AnErrorNamesTheFieldAndTheRule) {
  const ApiError range = refused(R"("temperature":3)");
  EXPECT_EQ(range.status, 400);
  EXPECT_EQ(range.param, "temperature");
  EXPECT_EQ(range.code, "decimal_above_max_value");
  EXPECT_EQ(range.message,
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 "
            "instead.");
  EXPECT_EQ(refused(R"("n":0)").code, "integer_below_min_value");
  EXPECT_EQ(refused(R"("n":1.5)").code, "invalid_type");
  EXPECT_EQ(refused(R"("max_tokens":18446744073709551615)").param, "max_tokens");
  EXPECT_EQ(refused(R"("stream":"yes")").message,
            "Invalid type for 'stream': expected a boolean, but got a string instead.");
  EXPECT_EQ(refused(R"("stop":[1])").param, "stop");
  EXPECT_EQ(refused(R"("stop":"")").code, "invalid_value");
  EXPECT_EQ(refused(R"("logit_bias":{"100":1})").param, "logit_bias");
  EXPECT_EQ(refused(R"("logit_bias":{"x":1})").param, "logit_bias");
  EXPECT_EQ(refused(R"("top_logprobs":2)").param, "top_logprobs");
  EXPECT_EQ(refused(R"("stream_options":{"include_usage":true})").param, "stream_options");
}

TEST(ChatRequest, MoreTokensThanThereIsRoomForAreCutWhateverTheNumber) {
  for (const char* field : {R"("max_tokens":2147483647)", R"("max_completion_tokens":4294967296)",
                            R"("max_tokens":9223372036854775807)"}) {
    auto request = parse(field);
    ASSERT_TRUE(request.ok()) << request.error().message;
    EXPECT_EQ(request->options.max_tokens, 1 << 30);
  }
}

TEST(ChatRequest, AllowedToolsAreTheToolsThatAreShownAndCalled) {
  const auto with = [](const std::string& allowed) {
    return R"("tools":[{"type":"function","function":{"name":"f"}},)"
           R"({"type":"function","function":{"name":"g"}}],"tool_choice":{"type":"allowed_tools",)"
           R"("allowed_tools":)" +
           allowed + "}";
  };
  auto some =
      parse(with(R"({"mode":"auto","tools":[{"type":"function","function":{"name":"g"}}]})"));
  ASSERT_TRUE(some.ok()) << some.error().message;
  ASSERT_EQ(some->tools.tools.size(), 1U);
  EXPECT_EQ(some->tools.tools[0].name, "g");
  EXPECT_EQ(some->tools.choice, ToolRequest::Choice::kAuto);
  EXPECT_EQ(some->prompt.tools_json, R"([{"type":"function","function":{"name":"g"}}])");
  auto must =
      parse(with(R"({"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]})"));
  ASSERT_TRUE(must.ok()) << must.error().message;
  EXPECT_EQ(must->tools.choice, ToolRequest::Choice::kRequired);
  for (const char* wrong :
       {R"({"mode":"auto","tools":[]})", R"({"tools":[]})",
        R"({"mode":"auto","tools":[{"type":"function","function":{"name":"h"}}]})"}) {
    EXPECT_TRUE(refused(with(wrong)).param->starts_with("tool_choice.allowed_tools")) << wrong;
  }
  EXPECT_EQ(refused(R"("tool_choice":{"type":"allowed_tools","allowed_tools":{}})").param,
            "tool_choice");
}

TEST(ChatRequest, VariablesOfTheTemplateHaveALimit) {
  Json many = Json::object();
  for (int i = 0; i < 129; ++i) many["k" + std::to_string(i)] = i;
  EXPECT_EQ(refused("\"chat_template_kwargs\":" + many.dump()).param, "chat_template_kwargs");
  const Json large = {{"text", std::string(1 << 20, 'x')}};
  EXPECT_EQ(refused("\"chat_template_kwargs\":" + large.dump()).param, "chat_template_kwargs");
  EXPECT_TRUE(parse(R"("chat_template_kwargs":{"a":{"b":[1]}})").ok());
}

TEST(ChatRequest, AnotherModelIsNotFound) {
  const ApiError error = refused(R"("model":"gpt-4o")");
  EXPECT_EQ(error.status, 404);
  EXPECT_EQ(error.code, "model_not_found");
  EXPECT_EQ(error.param, "model");
  EXPECT_TRUE(parse(R"("model":"/models/demo")").ok());
}

TEST(ChatRequest, NothingIsAcceptedAndIgnored) {
  for (const char* field :
       {R"("adapters":"x")", R"("draft_model":"x")", R"("num_draft_tokens":3)",
        R"("role_mapping":{})", R"("functions":[])", R"("function_call":"auto")", R"("audio":{})",
        R"("prediction":{})", R"("web_search_options":{})", R"("verbosity":"low")",
        R"("modalities":["audio"])", R"("store":true)", R"("reasoning_effort":"low")",
        R"("mirostat":1)", R"("moderation":{})"}) {
    EXPECT_EQ(refused(field).code, "unsupported_parameter") << field;
  }
  const ApiError unknown = refused(R"("temprature":1)");
  EXPECT_EQ(unknown.code, "unknown_parameter");
  EXPECT_EQ(unknown.param, "temprature");
  EXPECT_EQ(refused(R"("stream":true,"stream_options":{"usage":true})").param,
            "stream_options.usage");
}

TEST(ChatRequest, WhatSdksSendWithoutAnyEffectIsTaken) {
  EXPECT_TRUE(parse(R"("user":"u","metadata":{"a":"b"},"store":false,"service_tier":"auto",)"
                    R"("safety_identifier":"s","prompt_cache_key":"k","modalities":["text"],)"
                    R"("prompt_cache_retention":"24h","prompt_cache_options":{},)"
                    R"("tools":null,"stop":null,"logit_bias":null)")
                  .ok());
}

TEST(ChatRequest, AReasoningEffortNeedsATemplateThatKnowsIt) {
  RequestRules by = rules();
  by.template_enable_thinking = true;
  auto off = parse(R"("reasoning_effort":"none")", by);
  ASSERT_TRUE(off.ok());
  EXPECT_EQ(off->prompt.kwargs_json, R"({"enable_thinking":false})");
  by.template_reasoning_effort = true;
  auto low = parse(R"("reasoning_effort":"low")", by);
  ASSERT_TRUE(low.ok());
  EXPECT_EQ(low->prompt.kwargs_json, R"({"reasoning_effort":"low"})");
}

TEST(ChatRequest, VariablesOfTheTemplateThatHaveFieldsAreNotSetBesideThem) {
  for (const std::string name : {"messages", "tools", "add_generation_prompt"}) {
    EXPECT_EQ(refused(R"("chat_template_kwargs":{")" + name + R"(":1})").param,
              "chat_template_kwargs." + name);
  }
}

TEST(ChatRequest, ATokenHasOneKeyInTheBias) {
  EXPECT_TRUE(parse(R"("logit_bias":{"0":1,"99":-100})").ok());
  for (const char* key : {"05", "-0", "+1", "1.0", "1e1", "", " 1", "100", "-1", "99999999999"}) {
    const ApiError error = refused(R"("logit_bias":{")" + std::string(key) + R"(":1})");
    EXPECT_EQ(error.param, "logit_bias") << key;
  }
}

TEST(ChatRequest, ToolsKeepTheOrderOfTheirMembers) {
  const std::string tool =
      R"({"type":"function","function":{"name":"f","parameters":{"type":"object",)"
      R"("properties":{"z":{"type":"string"},"a":{"type":"string"}}}}})";
  auto request = parse(R"("tools":[)" + tool + "]");
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->tools.choice, ToolRequest::Choice::kAuto);
  EXPECT_EQ(request->prompt.tools_json, "[" + tool + "]");
  auto none = parse(R"("tool_choice":"none","tools":[)" + tool + "]");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->prompt.tools_json, "");
  auto named =
      parse(R"("tool_choice":{"type":"function","function":{"name":"f"}},"tools":[)" + tool + "]");
  ASSERT_TRUE(named.ok());
  EXPECT_EQ(named->tools.name, "f");
  EXPECT_EQ(
      refused(R"("tool_choice":{"type":"function","function":{"name":"g"}},"tools":[)" + tool + "]")
          .param,
      "tool_choice");
  EXPECT_EQ(refused(R"("tool_choice":"required")").param, "tool_choice");
  EXPECT_EQ(refused(R"("tools":[{"type":"function","function":{"name":"a b"}}])").param,
            "tools[0].function.name");
  EXPECT_EQ(refused(R"("tools":[{"type":"code"}])").param, "tools[0].type");
  EXPECT_EQ(refused(R"("tools":[)" + tool + "," + tool + "]").param, "tools") << "one name, twice";
}

TEST(ChatRequest, ToolsThatTheTemplateWouldNotShowAreRefusedUnlessACallIsForced) {
  RequestRules by = rules();
  by.template_tools = false;
  const std::string tools = R"("tools":[{"type":"function","function":{"name":"f"}}])";
  auto free = parse(tools, by);
  ASSERT_FALSE(free.ok());
  EXPECT_EQ(free.error().code, "unsupported_parameter");
  EXPECT_TRUE(parse(tools + R"(,"tool_choice":"required")", by).ok());
}

TEST(ChatRequest, StructuredOutputsAreTakenInBothSpellings) {
  auto schema =
      parse(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,)"
            R"("schema":{"type":"object"}}})");
  ASSERT_TRUE(schema.ok()) << schema.error().message;
  EXPECT_EQ(schema->grammar.kind, OutputGrammar::Kind::kJsonSchema);
  EXPECT_EQ(schema->grammar.source, R"({"type":"object"})");
  auto choice = parse(R"("structured_outputs":{"choice":["a.b","c"]})");
  ASSERT_TRUE(choice.ok()) << choice.error().message;
  EXPECT_EQ(choice->grammar.kind, OutputGrammar::Kind::kRegex);
  EXPECT_EQ(choice->grammar.source, R"(a\.b|c)");
  EXPECT_EQ(refused(R"("response_format":{"type":"xml"})").param, "response_format.type");
  EXPECT_EQ(refused(R"("response_format":{"type":"json_schema"})").param,
            "response_format.json_schema");
  EXPECT_EQ(refused(R"("structured_outputs":{})").param, "structured_outputs");
  EXPECT_EQ(refused(R"("structured_outputs":{"regex":"a","choice":["b"]})").param,
            "structured_outputs");
}

}  // namespace
}  // namespace tandem::server
