// Sources made to hurt end with one line, or are followed within bounds. How long a test may take
// is for ctest to say.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "text/grammar.h"
#include "unit/text/grammar_rules.h"

namespace tandem::text {
namespace {

std::string repeat(std::string_view text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

std::string numbered(std::string_view before, std::string_view after, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += fmt::format("{}{}{}", before, i, after);
  return out;
}

/// `members` of an object, without the last comma.
std::string object_of(std::string members) {
  if (!members.empty()) members.pop_back();
  return "{" + members + "}";
}

class HostileGrammars : public GrammarRules {
 protected:
  /// An output of it can be followed for a while, or ends with an error that says why.
  void expect_followed(const Result<Grammar>& grammar) {
    ASSERT_TRUE(grammar.ok()) << grammar.error().message;
    tandem::testing::GrammarWalker walker(*tokenizer_, 1);
    const auto walk = walker.walk(*grammar, 200);
    if (!walk.error) return;
    EXPECT_EQ(walk.error->code, ErrorCode::kResourceLimit) << walk.error->message;
    EXPECT_EQ(walk.error->message.find('\n'), std::string::npos);
  }
  void expect_refused(const Result<Grammar>& grammar, std::string_view words) {
    EXPECT_NE(refusal(grammar).find(words), std::string::npos) << refusal(grammar);
  }
  Result<Grammar> schema(const std::string& text) { return Grammar::json_schema(*tokens_, text); }
  Result<Grammar> regex(const std::string& text) { return Grammar::regex(*tokens_, text); }
  Result<Grammar> lark(const std::string& text) { return Grammar::lark(*tokens_, text); }
};

TEST_F(HostileGrammars, HugeBoundsOfASchema) {
  for (const char* bound : {"minItems", "maxItems"}) {
    expect_followed(schema(fmt::format(R"({{"type":"array","{}":1000000000}})", bound)));
  }
  for (const char* bound : {"minLength", "maxLength"}) {
    expect_followed(schema(fmt::format(R"({{"type":"string","{}":1000000000}})", bound)));
  }
  for (const char* bound : {"minProperties", "maxProperties"}) {
    expect_followed(schema(fmt::format(R"({{"type":"object","{}":1000000000}})", bound)));
  }
  expect_refused(schema(R"({"type":"number","minimum":0.1,"maximum":1e308})"), "json schema: ");
  expect_refused(schema(R"({"type":"integer","multipleOf":1000003})"), "multipleOf");
  expect_refused(schema(R"({"type":"number","multipleOf":1e-300})"), "multipleOf");
  expect_refused(schema(R"({"allOf":[{"multipleOf":9999},{"multipleOf":9998}]})"), "multipleOf");
  expect_followed(schema(R"({"type":"object","required":["a","b"],"properties":{
      "a":{"type":"number","multipleOf":0.01},"b":{"type":"number","multipleOf":0.25}}})"));
}

TEST_F(HostileGrammars, IntegersThatNoDoubleHolds) {
  for (const char* integer : {"-9223372036854775808", "9223372036854775807", "9007199254740993",
                              "18446744073709551615", "-9007199254740993"}) {
    expect_refused(schema(fmt::format(R"({{"const":{}}})", integer)), "asks for");
    expect_refused(schema(fmt::format(R"({{"enum":["a",[{{"b":{}}}]]}})", integer)), "asks for");
    expect_refused(lark(fmt::format("start: %json {{\"enum\":[{}]}}", integer)), "asks for");
  }
  for (const char* bound : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
    for (const char* number : {"-9223372036854775808", "-1e19", "1e300"}) {
      const auto text = fmt::format(R"({{"type":"integer","{}":{}}})", bound, number);
      expect_refused(schema(text), "has the bound");
    }
  }
  expect_followed(schema(R"({"enum":[9007199254740992,-9007199254740992,1e300,-1.5]})"));
  expect_followed(schema(R"({"type":"integer","maximum":9223372036854775807})"));
  expect_followed(schema(R"({"type":"integer","minimum":-9223372036854774784,"maximum":-1})"));
}

TEST_F(HostileGrammars, DeepAndLargeSchemas) {
  const auto nested = [](std::size_t depth) {
    return repeat(R"({"type":"array","items":)", depth) + "{}" + repeat("}", depth);
  };
  expect_followed(schema(nested(100)));
  expect_refused(schema(nested(5000)), "recursion limit");
  expect_refused(schema(nested(100000)), "the limit is 1048576");
  const auto properties = [](int count) {
    return R"({"type":"object","properties":)" +
           object_of(numbered("\"p", "\":{\"type\":\"string\"},", count)) + "}";
  };
  expect_followed(schema(properties(700)));
  expect_refused(schema(properties(701)), "too many properties, the limit is 700");
  std::string values = numbered("", ",", 39000);
  values.pop_back();
  expect_followed(schema("{\"enum\":[" + values + "]}"));
  expect_refused(schema("{\"enum\":[" + values + "," + values + "]}"), "too many values");
  expect_followed(schema("{\"const\":\"" + std::string(1000000, 'x') + "\"}"));
}

TEST_F(HostileGrammars, ReferencesThatLeadNowhere) {
  expect_refused(schema(R"({"$ref":"#"})"), "nothing can come next");
  expect_refused(schema(R"({"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},
                            "$ref":"#/$defs/a"})"),
                 "nothing can come next");
  expect_refused(schema(R"({"allOf":[{"$ref":"#"},{"type":"object"}]})"), "circular");
  expect_followed(schema(R"({"type":"array","items":{"$ref":"#"},"minItems":1})"));
  std::string members;
  std::string choices;
  for (int i = 0; i < 40; ++i) {
    members +=
        fmt::format(R"("d{0}":{{"type":"object","properties":{{"l":{{"$ref":"#/$defs/d{1}"}},)"
                    R"("r":{{"$ref":"#/$defs/d{1}"}}}},"required":["l","r"]}},)",
                    i, i + 1);
    choices += fmt::format(R"({{"anyOf":[{{"properties":{{"a{0}":{{"type":"null"}}}}}},)"
                           R"({{"properties":{{"b{0}":{{"type":"null"}}}}}}]}},)",
                           i);
  }
  expect_followed(schema("{\"$ref\":\"#/$defs/d0\",\"$defs\":" +
                         object_of(members + R"("d40":{"type":"null"},)") + "}"));
  choices.pop_back();
  expect_refused(schema("{\"allOf\":[" + choices + "]}"), "too large");
}

TEST_F(HostileGrammars, ExponentialPatterns) {
  expect_followed(regex("(a+)+b"));
  expect_followed(regex("(x+x+)+y"));
  expect_followed(regex("(a|b)*a(a|b){30}"));
  expect_followed(regex("(a?){300}a{300}"));
  expect_followed(regex("[a-z]{1000000000}"));
  expect_followed(regex("(([a-z]{1,1000}){1,1000}){1,1000}"));
  expect_followed(regex(std::string(200000, 'a')));
  expect_refused(regex(std::string(300000, 'a')), "too long");
  expect_refused(regex(repeat("[a-z]?", 10000)), "too many of * + ? {");
  expect_refused(schema(R"({"type":"string","pattern":")" + repeat("a*b*", 2000) + "\"}"),
                 "too many of * + ? {");
  expect_refused(schema(R"({"patternProperties":{")" + repeat("a*b*", 2000) + "\":{}}}"),
                 "too many of * + ? {");
  expect_refused(regex(repeat("(", 400) + "a" + repeat(")", 400)), "regex: ");
  expect_refused(regex(repeat("(", 100000)), "too many open brackets");
}

TEST_F(HostileGrammars, LarkGrammarsThatGrow) {
  expect_followed(lark("start: e\ne: e e | \"a\" | \"\""));
  expect_followed(lark("start: (\"a\"{1,1000}){1,1000}"));
  expect_followed(lark("start: " + numbered("\"w", "\" ", 9000)));
  expect_refused(lark("start: " + numbered("\"w", "\" ", 20000)), "too many strings");
  expect_refused(lark("start: \"a\"" + numbered(" | \"w", "\"", 4001)), "too many alternatives");
  expect_refused(lark("start: " + repeat("(", 490) + "\"a\"" + repeat(")", 490)), "nested");
  expect_refused(lark("start: " + repeat("(", 100000)), "too many open brackets");
  expect_refused(lark("start: A\nA: " + repeat("~", 100000) + "\"a\""), "too many open brackets");
  expect_refused(lark("start: /" + repeat("a?", 3000) + "/"), "too many of * + ? {");
  expect_refused(
      lark(R"(start: %json {"type":"string","p\u0061ttern":")" + repeat("a?", 3000) + "\"}"),
      "too many of * + ? {");
  std::string rules = "start: A0\nA60: \"a\"\n";
  for (int i = 0; i < 60; ++i) rules += fmt::format("A{0}: A{1} A{1}\n", i, i + 1);
  expect_refused(lark(rules), "too big");
}

}  // namespace
}  // namespace tandem::text
