#include <gtest/gtest.h>

#include <string>

#include "text/grammar.h"
#include "unit/text/grammar_rules.h"

namespace tandem::text {
namespace {

TEST_F(GrammarRules, AnObjectIsCompleteWithItsBrace) {
  GrammarMatcher matcher = start(Grammar::json_object(*tokens_));
  ASSERT_TRUE(matcher.accept('{').ok());
  EXPECT_FALSE(matcher.complete());
  ASSERT_TRUE(matcher.accept('}').ok());
  EXPECT_TRUE(matcher.complete());
}

TEST_F(GrammarRules, AnyObjectIsAnObject) {
  const auto grammar = Grammar::json_object(*tokens_);
  for (const char* text : {"{}", "{ }", R"({"a":1})", R"({"a":[1,"b",{"c":null}],"d":{"e":true}})",
                           "{\n  \"a\": -1.5e-3,\n  \"\\u0001\\n\": \"\xF0\x9F\x98\x80\"\n}"}) {
    EXPECT_TRUE(accepts(grammar, text)) << text;
  }
  for (const char* text : {"", "[]", "1", " {}", "{", "{}}", "{}\n\n\n{}", R"({"a":01})",
                           R"({"a":1,})", "{\"a\":\"\n\"}", R"({'a':1})"}) {
    EXPECT_FALSE(accepts(grammar, text)) << text;
  }
}

TEST_F(GrammarRules, SpaceBetweenTokensOfJsonIsBounded) {
  const char* schema = R"({"type":"array","items":{"type":"null"}})";
  EXPECT_TRUE(fits(schema, "[ null,\r\n\t null ]"));
  EXPECT_FALSE(fits(schema, "[  null]"));
  EXPECT_FALSE(fits(schema, "[\n\nnull]"));
  EXPECT_FALSE(fits(schema, "[\n" + std::string(65, ' ') + "null]"));
  EXPECT_FALSE(fits(R"({"x-guidance":{"whitespace_pattern":"x+"},"type":"array"})", "[x]"));
}

TEST_F(GrammarRules, ASchemasKeywordsAreHeld) {
  EXPECT_TRUE(fits(R"({"type":"integer","minimum":-3,"maximum":12})", "-3"));
  EXPECT_FALSE(fits(R"({"type":"integer","minimum":-3,"maximum":12})", "13"));
  EXPECT_FALSE(fits(R"({"type":"integer"})", "1.5"));
  EXPECT_TRUE(fits(R"({"type":"number","exclusiveMinimum":0,"maximum":1})", "0.5"));
  EXPECT_FALSE(fits(R"({"type":"number","exclusiveMinimum":0,"maximum":1})", "0"));
  EXPECT_TRUE(fits(R"({"type":"integer","multipleOf":7})", "49"));
  EXPECT_FALSE(fits(R"({"type":"integer","multipleOf":7})", "50"));
  EXPECT_TRUE(fits(R"({"enum":["a",1,null,[2]]})", "[2]"));
  EXPECT_FALSE(fits(R"({"enum":["a",1,null,[2]]})", "2"));
  EXPECT_TRUE(fits(R"({"type":"string","pattern":"^[a-f]{2}$"})", R"("af")"));
  EXPECT_FALSE(fits(R"({"type":"string","pattern":"^[a-f]{2}$"})", R"("ag")"));
  EXPECT_TRUE(fits(R"({"type":"string","minLength":1,"maxLength":2})", "\"\xC3\xA9\xC3\xA9\""));
  EXPECT_FALSE(fits(R"({"type":"string","minLength":1,"maxLength":2})", R"("abc")"));
  EXPECT_TRUE(fits(R"({"type":"string","format":"date"})", R"("2024-02-29")"));
  EXPECT_FALSE(fits(R"({"type":"string","format":"date"})", R"("2024-02-30")"));
  EXPECT_TRUE(
      fits(R"({"type":"array","items":{"type":"null"},"minItems":1,"maxItems":2})", "[null,null]"));
  EXPECT_FALSE(fits(R"({"type":"array","items":{"type":"null"},"minItems":1,"maxItems":2})", "[]"));
  EXPECT_TRUE(fits(R"({"anyOf":[{"type":"null"},{"type":"boolean"}]})", "false"));
  EXPECT_FALSE(fits("{\"type\":\"object\",\"additionalProperties\":false}", R"({"a":1})"));
  EXPECT_TRUE(fits("true", R"([{"a":"b"}])"));
}

TEST_F(GrammarRules, ReferencesMayRecur) {
  const char* schema =
      R"({"$defs":{"node":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/node"},
          {"type":"null"}]}},"required":["next"],"additionalProperties":false}},
          "$ref":"#/$defs/node"})";
  EXPECT_TRUE(fits(schema, R"({"next":null})"));
  EXPECT_TRUE(fits(schema, R"({"next":{"next":{"next":null}}})"));
  EXPECT_FALSE(fits(schema, R"({"next":{"next":{"next":1}}})"));
}

TEST_F(GrammarRules, AnnotationsAreNoReasonToRefuse) {
  const char* schema = R"({"type":"object","properties":{
      "format":{"type":"string","format":"password","default":"x","examples":["y"]},
      "n":{"type":"integer","format":"int32","deprecated":true,"x-order":1},
      "day":{"type":"string","format":"date"},"kind":{"enum":[{"format":"path"}]}},
      "required":["format","n"],"additionalProperties":false,"x-source":"tests"})";
  EXPECT_TRUE(
      fits(schema, R"({"format":"any","n":1,"day":"2024-02-29","kind":{"format":"path"}})"));
  EXPECT_FALSE(fits(schema, R"({"format":"any","n":1,"day":"tomorrow"})"));
  EXPECT_FALSE(fits(schema, R"({"format":1,"n":1})"));
}

TEST_F(GrammarRules, WhatASchemaGetsWrongIsSaid) {
  EXPECT_EQ(schema_refusal("{"),
            "json schema: not JSON: EOF while parsing an object at line 1 column 1");
  EXPECT_EQ(schema_refusal("[1]"), "json schema: must be an object or a boolean");
  EXPECT_EQ(schema_refusal("false"), "json schema: allows no value");
  EXPECT_EQ(schema_refusal(R"({"type":"strin"})"), "json schema: Invalid type: strin");
  EXPECT_EQ(schema_refusal(R"({"not":{}})"), "json schema: does not support [\"not\"]");
  EXPECT_EQ(schema_refusal(R"({"type":"array","uniqueItems":true})"),
            "json schema: does not support [\"uniqueItems\"]");
  EXPECT_EQ(schema_refusal(R"({"type":"string","pattern":"("})"),
            "json schema: pattern \"(\": unclosed group");
  EXPECT_EQ(schema_refusal(R"({"oneOf":[{"type":"number"},{"type":"integer"}]})"),
            "json schema: oneOf must have options that exclude each other");
  EXPECT_EQ(schema_refusal(R"({"type":"integer","minimum":5,"maximum":2})"),
            "json schema: allows no value: minimum (5) is greater than maximum (2)");
  EXPECT_NE(schema_refusal(R"({"$ref":"http://127.0.0.1/x"})").find("retrieving it failed"),
            std::string::npos);
  EXPECT_NE(schema_refusal(R"({"$ref":"#/nope"})").find("does not exist"), std::string::npos);
  EXPECT_EQ(schema_refusal(R"({"$ref":"#"})"), "json schema: nothing can come next");
  EXPECT_EQ(schema_refusal("\"\xFF\""), "json schema is not UTF-8 at byte 1");
}

}  // namespace
}  // namespace tandem::text
