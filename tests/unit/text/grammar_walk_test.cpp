// What a grammar allows, drawn at random with a real tokenizer, is what it says.

#include "support/grammar_walk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "text/grammar.h"
#include "text/tokenizer.h"

namespace tandem::text {
namespace {

using nlohmann::json;
namespace walks = tandem::testing;

class GrammarWalks : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto tokenizer = Tokenizer::load(TANDEM_SOURCE_DIR "/models/tandem-demo");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_ = std::make_unique<Tokenizer>(std::move(*tokenizer));
    auto tokens = GrammarTokenizer::make(*tokenizer_, tokenizer_->vocabulary_size() + 77);
    ASSERT_TRUE(tokens.ok()) << tokens.error().message;
    tokens_ = std::make_unique<GrammarTokenizer>(std::move(*tokens));
  }
  static void TearDownTestSuite() {
    tokens_.reset();
    tokenizer_.reset();
  }

  /// Draws outputs of a grammar; every one that came to an end has to pass `check`.
  void draw(const Result<Grammar>& grammar, const std::function<bool(const std::string&)>& check) {
    ASSERT_TRUE(grammar.ok()) << grammar.error().message;
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    walks::GrammarWalker walker(*tokenizer_, seed);
    int ended = 0;
    for (int i = 0; i < kWalks; ++i) {
      const walks::Walk walk = walker.walk(*grammar);
      ASSERT_FALSE(walk.error.has_value()) << walk.error->message << " after " << walk.text;
      if (!walk.ended) continue;
      ++ended;
      ASSERT_TRUE(check(walk.text)) << walk.text;
    }
    EXPECT_GE(ended, kWalks * 9 / 10);
  }
  void draw_json(const char* schema, const std::function<bool(const json&)>& check) {
    draw(Grammar::json_schema(*tokens_, schema), [&](const std::string& text) {
      const json value = json::parse(text, nullptr, false);
      return !value.is_discarded() && check(value);
    });
  }

  static constexpr int kWalks = 60;
  static std::unique_ptr<Tokenizer> tokenizer_;
  static std::unique_ptr<GrammarTokenizer> tokens_;
};

std::unique_ptr<Tokenizer> GrammarWalks::tokenizer_;
std::unique_ptr<GrammarTokenizer> GrammarWalks::tokens_;

TEST_F(GrammarWalks, ObjectsHoldTheirProperties) {
  draw_json(
      R"({"type":"object","properties":{"name":{"type":"string","maxLength":20},
          "age":{"type":"integer","minimum":0,"maximum":150},
          "kind":{"enum":["cat","dog",null]},
          "tags":{"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":3}},
          "required":["name","age","tags"],"additionalProperties":false})",
      [](const json& v) {
        if (!v.is_object() || !v.contains("name") || !v.contains("age")) return false;
        for (const auto& [key, value] : v.items()) {
          if (key != "name" && key != "age" && key != "kind" && key != "tags") return false;
        }
        const json kind = v.value("kind", json());
        return v["name"].is_string() && v["age"].is_number_integer() && v["age"] >= 0 &&
               v["age"] <= 150 && (kind.is_null() || kind == "cat" || kind == "dog") &&
               v["tags"].is_array() && !v["tags"].empty() && v["tags"].size() <= 3 &&
               std::ranges::all_of(v["tags"], [](const json& t) { return t.is_boolean(); });
      });
}

TEST_F(GrammarWalks, StringsMatchTheirPatternAndLength) {
  draw_json(
      R"({"type":"object","properties":{"code":{"type":"string","pattern":"^[A-Z]{3}-[0-9]+$"},
          "day":{"type":"string","format":"date"},"text":{"type":"string","minLength":3}},
          "required":["code","day","text"],"additionalProperties":false})",
      [](const json& v) {
        static const std::regex code("[A-Z]{3}-[0-9]+");
        static const std::regex day("[0-9]{4}-[0-9]{2}-[0-9]{2}");
        return std::regex_match(v.at("code").get<std::string>(), code) &&
               std::regex_match(v.at("day").get<std::string>(), day) &&
               v.at("text").get<std::string>().size() >= 3;
      });
}

TEST_F(GrammarWalks, ReferencesRecur) {
  const std::function<bool(const json&)> tree = [&](const json& v) {
    return v.is_object() && v.size() == 2 && v.at("value").is_number_integer() &&
           v.at("children").is_array() && v["children"].size() <= 2 &&
           std::ranges::all_of(v["children"], tree);
  };
  draw_json(
      R"({"$defs":{"tree":{"type":"object","properties":{
          "value":{"type":"integer","minimum":0,"maximum":9},
          "children":{"type":"array","items":{"$ref":"#/$defs/tree"},"maxItems":2}},
          "required":["value","children"],"additionalProperties":false}},"$ref":"#/$defs/tree"})",
      tree);
}

TEST_F(GrammarWalks, OneOfSeveralSchemas) {
  draw_json(
      R"({"anyOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"],
          "additionalProperties":false},{"type":"array","prefixItems":[{"type":"boolean"}],
          "items":{"type":"null"},"minItems":1},{"type":"integer","minimum":-5,"maximum":5}]})",
      [](const json& v) {
        if (v.is_object()) return v == json{{"a", 1}};
        if (v.is_array()) return v.at(0).is_boolean();
        return v.is_number_integer() && v >= -5 && v <= 5;
      });
}

TEST_F(GrammarWalks, AnyObjectParses) {
  draw(Grammar::json_object(*tokens_), [](const std::string& text) {
    // Numbers may be too large for a double, which is no matter of grammar.
    return text.find_first_of("0123456789") != std::string::npos || json::accept(text);
  });
}

TEST_F(GrammarWalks, PatternsMatch) {
  const std::regex pattern("(foo|ba[rz]\n)+[^x]?");
  draw(Grammar::regex(*tokens_, "(foo|ba[rz]\n)+[^x]?"), [&](const std::string& text) {
    const bool plain = std::ranges::all_of(text, [](char c) { return (c & 0x80) == 0; });
    return !plain || std::regex_match(text, pattern);
  });
}

TEST_F(GrammarWalks, TheSameSeedDrawsTheSame) {
  const auto grammar = Grammar::json_object(*tokens_);
  ASSERT_TRUE(grammar.ok());
  const auto again = Grammar::json_object(*tokens_);
  ASSERT_TRUE(again.ok());
  walks::GrammarWalker first(*tokenizer_, 7);
  walks::GrammarWalker second(*tokenizer_, 7);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(first.walk(*grammar).text, second.walk(*again).text);
}

TEST_F(GrammarWalks, MasksAreWhatTokensAreAccepted) {
  const auto grammar = Grammar::json_schema(
      *tokens_, R"({"type":"object","properties":{"a":{"type":"string","pattern":"^the +.$"}}})");
  ASSERT_TRUE(grammar.ok());
  auto matcher = GrammarMatcher::start(*grammar);
  ASSERT_TRUE(matcher.ok());
  std::vector<std::int32_t> taken;
  for (const char* part : {"{", "\"", "a", "\"", ":", "\"", "the"}) {
    const auto mask = matcher->allowed();
    ASSERT_TRUE(mask.ok());
    const auto allowed = walks::tokens_of(*mask);
    for (std::int32_t id = 0; id < tokens_->vocabulary(); id += 7) {
      auto other = GrammarMatcher::start(*grammar);
      ASSERT_TRUE(other.ok());
      for (const std::int32_t before : taken) ASSERT_TRUE(other->accept(before).ok());
      ASSERT_EQ(other->accept(id).ok(), std::ranges::binary_search(allowed, id)) << part << id;
    }
    taken.push_back(tokenizer_->token_to_id(part).value());
    ASSERT_TRUE(matcher->accept(taken.back()).ok());
  }
}

}  // namespace
}  // namespace tandem::text
