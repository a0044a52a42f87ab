#include "server/output/output_parser.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <string_view>

#include "support/parsed_output.h"

namespace tandem::server {
namespace {

constexpr OutputFormat format_of(ToolSyntax tools, ReasoningSyntax reasoning) {
  return {.tools = tools, .reasoning = reasoning, .special_markers = {}, .special_ids = {}};
}

/// Text as a model of that syntax writes it, and what it means.
struct Case {
  const char* about;
  ToolSyntax tools;
  std::string_view text;
  std::string_view expected;  // ParsedOutput::text()
};

void PrintTo(const Case& test_case, std::ostream* out) { *out << test_case.about; }

class OutputParserCases : public testing::TestWithParam<Case> {};

TEST_P(OutputParserCases, GivesTheSameHoweverTheTextIsCut) {
  std::mt19937_64 random(20240607);
  const OutputFormat format = format_of(GetParam().tools, ReasoningSyntax::kThink);
  OutputOptions options = weather_options();
  EXPECT_EQ(parse_every_way(format, options, GetParam().text, random).text(), GetParam().expected);
  options.stream_arguments = false;
  EXPECT_EQ(parse_every_way(format, options, GetParam().text, random).text(), GetParam().expected);
}

TEST_P(OutputParserCases, LeavesEverythingInTheContentWithoutToolsAndReasoning) {
  std::mt19937_64 random(1);
  const OutputFormat format = format_of(GetParam().tools, ReasoningSyntax::kThink);
  OutputOptions options;
  options.split_reasoning = false;
  const ParsedOutput out = parse_every_way(format, options, GetParam().text, random);
  EXPECT_EQ(out.content, GetParam().text);
  EXPECT_TRUE(out.calls.empty());
}

const Case kHermesCases[] = {
    {"plain", ToolSyntax::kHermes, "Hello, <b>you</b>!\n",
     "content<Hello, <b>you</b>!\n> reasoning<>"},
    {"one call", ToolSyntax::kHermes,
     "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\"})"},
    {"reasoning, words, two calls", ToolSyntax::kHermes,
     "<think>\nI need both.\n</think>\n\nLet me look.\n<tool_call>\n{\"name\":\"get_time\","
     "\"arguments\":{}}\n</tool_call>\n<tool_call>\n{\"name\":\"get_weather\",\"arguments\":"
     "{\"city\":\"Bergen \\u00e9\\\"{}\",\"days\":[1,{\"a\":null}]}}\n</tool_call>\n",
     "content<Let me look.> reasoning<I need both.> get_time({}) "
     "get_weather({\"city\":\"Bergen \\u00e9\\\"{}\",\"days\":[1,{\"a\":null}]})"},
    {"arguments first", ToolSyntax::kHermes,
     "<tool_call>{\"arguments\": {\"city\": \"Oslo\"}, \"id\": 1.5e3, \"name\": \"get_weather\"}"
     "</tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\"})"},
    {"arguments as a string", ToolSyntax::kHermes,
     "<tool_call>{\"name\": \"get_weather\", \"arguments\": \"{\\\"city\\\": \\\"Oslo\\\"}\"}"
     "</tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\"})"},
    {"no arguments", ToolSyntax::kHermes, "<tool_call>{\"name\": \"get_time\"}</tool_call>",
     "content<> reasoning<> get_time({})"},
    {"null arguments", ToolSyntax::kHermes,
     "<tool_call>{\"name\": \"get_time\", \"arguments\": null}</tool_call>",
     "content<> reasoning<> get_time({})"},
    {"closing marker left out", ToolSyntax::kHermes,
     "<tool_call>\n{\"name\": \"get_time\", \"arguments\": {}}\n",
     "content<> reasoning<> get_time({})"},
    {"two objects in one block", ToolSyntax::kHermes,
     "<tool_call>{\"name\": \"get_time\"}\n{\"name\": \"get_time\"}</tool_call>",
     "content<> reasoning<> get_time({}) get_time({})"},
    {"words behind", ToolSyntax::kHermes,
     "One.\n<tool_call>{\"name\": \"get_time\"}</tool_call>\nTwo.",
     "content<One.\nTwo.> reasoning<> get_time({})"},
    {"raw newline in a string", ToolSyntax::kHermes,
     "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"a\nb\tc\"}}</tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"a\\nb\\u0009c\"})"},
    {"not JSON", ToolSyntax::kHermes, "Hm <tool_call>\nget_time()</tool_call> yes",
     "content<Hm <tool_call>\nget_time()</tool_call> yes> reasoning<>"},
    {"JSON that breaks before the arguments", ToolSyntax::kHermes,
     "<tool_call>{\"name\": get_time}</tool_call><tool_call>{\"name\": \"get_time\"}</tool_call>",
     "content<<tool_call>{\"name\": get_time}</tool_call>> reasoning<> get_time({})"},
    {"no name", ToolSyntax::kHermes, "<tool_call>{\"arguments\": {}}</tool_call>",
     "content<<tool_call>{\"arguments\": {}}</tool_call>> reasoning<>"},
    {"arguments that are a list", ToolSyntax::kHermes,
     "<tool_call>{\"name\": \"get_time\", \"arguments\": [1]}</tool_call>",
     "content<<tool_call>{\"name\": \"get_time\", \"arguments\": [1]}</tool_call>> reasoning<>"},
    {"cut off in the name", ToolSyntax::kHermes, " <tool_call>{\"name\": \"get_wea",
     "content<> reasoning<>"},
    {"only the beginning of a marker", ToolSyntax::kHermes, "1 <tool_c",
     "content<1 <tool_c> reasoning<>"},
    {"markers inside reasoning", ToolSyntax::kHermes,
     "<think>maybe <tool_call>{\"name\": \"get_time\"}</tool_call>\n</think>no",
     "content<no> reasoning<maybe <tool_call>{\"name\": \"get_time\"}</tool_call>>"},
    {"reasoning that does not end", ToolSyntax::kHermes, "<think>\nso </thin",
     "content<> reasoning<so </thin>"},
    {"think in the middle is content", ToolSyntax::kHermes, "a <think>b</think>",
     "content<a <think>b</think>> reasoning<>"},
};
INSTANTIATE_TEST_SUITE_P(Hermes, OutputParserCases, testing::ValuesIn(kHermesCases));

const Case kLlamaCases[] = {
    {"bare", ToolSyntax::kLlama,
     "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Oslo\"}}",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\"})"},
    {"python tag", ToolSyntax::kLlama,
     "<|python_tag|>{\"type\": \"function\", \"name\": \"get_time\", \"parameters\": {}}",
     "content<> reasoning<> get_time({})"},
    {"two", ToolSyntax::kLlama,
     "{\"name\": \"get_time\", \"parameters\": {}}; {\"name\": \"get_weather\", \"parameters\": "
     "{\"city\": \"A;B\"}}",
     "content<> reasoning<> get_time({}) get_weather({\"city\": \"A;B\"})"},
    {"an answer in JSON", ToolSyntax::kLlama, "{\"name\": \"Bob\", \"age\": 3}",
     "content<{\"name\": \"Bob\", \"age\": 3}> reasoning<>"},
    {"JSON of other members", ToolSyntax::kLlama, "{\"answer\": {\"name\": \"get_time\"}}",
     "content<{\"answer\": {\"name\": \"get_time\"}}> reasoning<>"},
    {"a call is the whole answer", ToolSyntax::kLlama,
     "Use {\"name\": \"get_time\", \"parameters\": {}}",
     "content<Use {\"name\": \"get_time\", \"parameters\": {}}> reasoning<>"},
    {"built-in python", ToolSyntax::kLlama, "<|python_tag|>print(1)",
     "content<<|python_tag|>print(1)> reasoning<>"},
};
INSTANTIATE_TEST_SUITE_P(Llama, OutputParserCases, testing::ValuesIn(kLlamaCases));

const Case kMistralCases[] = {
    {"list", ToolSyntax::kMistral,
     "[TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}, "
     "{\"name\": \"get_time\", \"arguments\": {}, \"id\": \"abcdefghi\"}]",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\"}) get_time({})"},
    {"name and args", ToolSyntax::kMistralArgs,
     "Sure.[TOOL_CALLS]get_weather[ARGS]{\"city\": \"[ARGS]\"}[TOOL_CALLS]get_time[ARGS]{}",
     "content<Sure.> reasoning<> get_weather({\"city\": \"[ARGS]\"}) get_time({})"},
    {"call id", ToolSyntax::kMistralArgs,
     "[TOOL_CALLS]get_weather[CALL_ID]bbc5b7ede[ARGS]{\"city\": \"Oslo\"}",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\"})"},
    {"args marker left out", ToolSyntax::kMistralArgs, "[TOOL_CALLS]get_time{}",
     "content<> reasoning<> get_time({})"},
    {"empty list", ToolSyntax::kMistral, "[TOOL_CALLS] []", "content<[TOOL_CALLS] []> reasoning<>"},
    {"list that breaks", ToolSyntax::kMistral,
     "[TOOL_CALLS][{\"name\": \"get_time\", \"arguments\": {}}, oh no]",
     "content<, oh no]> reasoning<> get_time({})"},
};
INSTANTIATE_TEST_SUITE_P(Mistral, OutputParserCases, testing::ValuesIn(kMistralCases));

const Case kDeepseekCases[] = {
    {"V3", ToolSyntax::kDeepseek,
     "<think>\nhm\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"
     "get_weather\n```json\n{\"city\": \"Oslo\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>"
     "function<｜tool▁sep｜>get_time\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "content<> reasoning<hm> get_weather({\"city\": \"Oslo\"}) get_time({})"},
    {"V3.1", ToolSyntax::kDeepseekV31,
     "Let me see.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
     "{\"city\": \"<｜tool▁sep｜>\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>get_time<｜tool▁sep｜>"
     "{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "content<Let me see.> reasoning<> get_weather({\"city\": \"<｜tool▁sep｜>\"}) get_time({})"},
    {"ends left out", ToolSyntax::kDeepseekV31, "<｜tool▁call▁begin｜>get_time<｜tool▁sep｜>{}",
     "content<> reasoning<> get_time({})"},
    {"no call", ToolSyntax::kDeepseek, "<｜tool▁calls▁begin｜>none<｜tool▁calls▁end｜>",
     "content<<｜tool▁calls▁begin｜>none<｜tool▁calls▁end｜>> reasoning<>"},
    {"no JSON", ToolSyntax::kDeepseek,
     "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\nnothing",
     "content<<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\nnothing> reasoning<>"},
};
INSTANTIATE_TEST_SUITE_P(Deepseek, OutputParserCases, testing::ValuesIn(kDeepseekCases));

const Case kTaggedCases[] = {
    {"GLM", ToolSyntax::kGlm,
     "\n<think>t</think>\nOne moment.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>"
     "5 \"Oslo\"\n</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>"
     "\n<tool_call>get_time\n</tool_call>",
     "content<One moment.> reasoning<t> get_weather({\"city\": \"5 \\\"Oslo\\\"\\n\", "
     "\"days\": 3}) get_time({})"},
    {"GLM 4.7 on one line", ToolSyntax::kGlm,
     "<tool_call>get_weather<arg_key>city</arg_key><arg_value>12</arg_value><arg_key>tags</arg_key>"
     "<arg_value>[\"a\", 1]</arg_value><arg_key>x</arg_key><arg_value>0.5</arg_value></tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"12\", \"tags\": [\"a\", 1], \"x\": 0.5})"},
    {"GLM that writes JSON", ToolSyntax::kGlm,
     "<tool_call>{\"name\": \"get_time\", \"arguments\": {}}</tool_call>",
     "content<> reasoning<> get_time({})"},
    {"GLM, words only", ToolSyntax::kGlm, "<tool_call>I do not know\nwhat</tool_call>",
     "content<<tool_call>I do not know\nwhat</tool_call>> reasoning<>"},
    {"Qwen", ToolSyntax::kQwenXml,
     "I "
     "check.\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\nNorth\n</parameter>\n"
     "<parameter=days>\n3\n</parameter>\n<parameter=hourly>\nTrue\n</parameter>\n"
     "<parameter=where>\n{\"x\": [1]}\n</parameter>\n<parameter=note>\nnull\n</parameter>\n"
     "<parameter=units>\nc\n</parameter>\n</function>\n</tool_call>",
     "content<I check.> reasoning<> get_weather({\"city\": \"Oslo\\nNorth\", \"days\": 3, "
     "\"hourly\": true, \"where\": {\"x\": [1]}, \"note\": null, \"units\": \"c\"})"},
    {"Qwen without tool_call", ToolSyntax::kQwenXml,
     "<function=get_time>\n</function>\n</tool_call>", "content<> reasoning<> get_time({})"},
    {"Qwen, values of the wrong type", ToolSyntax::kQwenXml,
     "<tool_call><function=get_weather><parameter=days>two</parameter><parameter=note>7</parameter>"
     "<parameter=city></parameter></function></tool_call>",
     "content<> reasoning<> get_weather({\"days\": \"two\", \"note\": \"7\", \"city\": \"\"})"},
    {"Qwen, closing tags lost before an argument", ToolSyntax::kQwenXml,
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n<parameter=days>\n3\n"
     "</parameter>\n</function>\n</tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\", \"days\": 3})"},
    {"Qwen, closing tags lost at the end", ToolSyntax::kQwenXml,
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n<parameter=days>\n3",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\", \"days\": 3})"},
    {"Qwen, a value up to the function's end", ToolSyntax::kQwenXml,
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</function>\n</tool_call>\nb",
     "content<b> reasoning<> get_weather({\"city\": \"Oslo\"})"},
    {"Qwen, a value up to the call's end", ToolSyntax::kQwenXml,
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\"})"},
    {"Qwen, tags that a value mentions", ToolSyntax::kQwenXml,
     "<tool_call>\n<function=get_weather>\n<parameter=city>\nsee <parameter=days>\n"
     "<parameter=city>\nx </function> y\n</parameter>\n</function>\n</tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"see <parameter=days>\\n<parameter=city>\\nx "
     "</function> y\"})"},
    {"GLM, closing tags lost", ToolSyntax::kGlm,
     "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo\n<arg_key>days</arg_key>\n"
     "<arg_value>3\n</tool_call>",
     "content<> reasoning<> get_weather({\"city\": \"Oslo\", \"days\": 3})"},
};
INSTANTIATE_TEST_SUITE_P(Tagged, OutputParserCases, testing::ValuesIn(kTaggedCases));

TEST(OutputParser, ACallThatBreaksOrIsCutOffIsGivenAsFarAsItCameAndItsMarkupIsNoContent) {
  std::mt19937_64 random(3);
  const OutputFormat format = format_of(ToolSyntax::kHermes, ReasoningSyntax::kNone);
  const std::string begun = "a <tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": ";
  OutputOptions options = weather_options();
  for (const bool stream : {true, false}) {
    options.stream_arguments = stream;
    EXPECT_EQ(parse_every_way(format, options, begun + "Oslo}}\n</tool_call>\nb", random).text(),
              "content<a\nb> reasoning<> get_weather({\"city\": )");
    EXPECT_EQ(parse_every_way(format, options, begun + "\"Os", random).text(),
              "content<a> reasoning<> get_weather({\"city\": \"Os)");
    for (const std::string& text : {begun + "Oslo}}</tool_call>", begun + "\"Os"}) {
      OutputParser parser(format, options);
      parser.push("<tool_call>{\"name\": \"get_time\"}</tool_call>" + text);
      parser.finish();
      EXPECT_EQ(parser.tool_calls(), 0) << "one is not whole";
    }
  }
}

TEST(OutputParser, StreamsArgumentsBeforeTheyAreComplete) {
  OutputParser parser(format_of(ToolSyntax::kHermes, ReasoningSyntax::kNone), weather_options());
  EXPECT_TRUE(parser.push("<tool_call>{\"name\": \"get_weather\", \"arguments\": ").empty());
  const OutputDelta first = parser.push("{\"city\": \"Os");
  ASSERT_EQ(first.tools.size(), 1U);
  EXPECT_EQ(first.tools[0].name, "get_weather");
  EXPECT_EQ(first.tools[0].arguments, "{\"city\": \"Os");
  const OutputDelta second = parser.push("lo\"");
  ASSERT_EQ(second.tools.size(), 1U);
  EXPECT_EQ(second.tools[0].arguments, "lo\"");
  EXPECT_TRUE(second.tools[0].id.empty());
}

TEST(OutputParser, GivesOutTextAtOnceThatCanBeNoMarker) {
  OutputParser parser(format_of(ToolSyntax::kHermes, ReasoningSyntax::kThink), weather_options());
  EXPECT_EQ(parser.push("Hello").content, "Hello");
  EXPECT_EQ(parser.push(" <to").content, "");
  EXPECT_EQ(parser.push("es").content, " <toes");
}

TEST(OutputParser, StartsInsideReasoningThatThePromptOpened) {
  std::mt19937_64 random(4);
  OutputOptions options = weather_options();
  options.starts_in_reasoning = true;
  const OutputFormat format = format_of(ToolSyntax::kHermes, ReasoningSyntax::kThink);
  for (const std::string_view text : {"\nhm\n</think>\n\nYes.", "<think>hm</think>Yes."}) {
    EXPECT_EQ(parse_every_way(format, options, text, random).text(), "content<Yes.> reasoning<hm>");
  }
  OutputParser parser(format, options);
  EXPECT_TRUE(parser.in_reasoning());
  parser.push("a</think>");
  EXPECT_FALSE(parser.in_reasoning());
}

TEST(OutputParser, ReadsMistralsReasoning) {
  std::mt19937_64 random(5);
  const OutputFormat format = format_of(ToolSyntax::kMistralArgs, ReasoningSyntax::kMistralThink);
  EXPECT_EQ(parse_every_way(format, weather_options(),
                            "[THINK]so[/THINK]Right.[TOOL_CALLS]get_time[ARGS]{}", random)
                .text(),
            "content<Right.> reasoning<so> get_time({})");
}

TEST(OutputParser, GivesEachCallAnIdOfItsOwnAndMistralShortOnes) {
  for (const bool mistral : {false, true}) {
    std::string text;
    for (int i = 0; i < 20; ++i) {
      text += mistral ? "[TOOL_CALLS]get_time[ARGS]{}" : "<tool_call>{\"name\":\"f\"}</tool_call>";
    }
    const ToolSyntax syntax = mistral ? ToolSyntax::kMistralArgs : ToolSyntax::kHermes;
    const ParsedOutput out =
        parse_pieces(format_of(syntax, ReasoningSyntax::kNone), weather_options(), {text});
    std::set<std::string> ids;
    for (const ParsedCall& call : out.calls) {
      ids.insert(call.id);
      EXPECT_EQ(call.id.size(), mistral ? 9U : 29U);
    }
    EXPECT_EQ(ids.size(), 20U);
  }
}

TEST(OutputParser, BoundsTheCallsAndWhatItHoldsBack) {
  const OutputFormat format = format_of(ToolSyntax::kHermes, ReasoningSyntax::kNone);
  std::string calls;
  for (int i = 0; i < kMaxToolCalls + 2; ++i) calls += "<tool_call>{\"name\":\"f\"}</tool_call>";
  const ParsedOutput many = parse_pieces(format, weather_options(), {calls});
  EXPECT_EQ(many.calls.size(), static_cast<std::size_t>(kMaxToolCalls));
  EXPECT_EQ(many.content,
            "<tool_call>{\"name\":\"f\"}</tool_call><tool_call>{\"name\":\"f\"}</tool_call>");

  const std::string endless = "<tool_call>{\"x\":\"" + std::string(kMaxHeldCallBytes, 'x');
  OutputParser parser(format, weather_options());
  EXPECT_EQ(parser.push(endless).content + parser.push("yz").content, endless + "yz");
}

}  // namespace
}  // namespace tandem::server
