#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "server/output/markers.h"
#include "server/output/tool_grammar.h"
#include "support/parsed_output.h"
#include "text/grammar.h"

namespace tandem::server {
namespace {

using nlohmann::json;

/// The embedded model's tokenizer. Its special tokens stand in for the markers of other models.
struct Words {
  Words()
      : tokenizer(text::Tokenizer::load(std::filesystem::path(TANDEM_SOURCE_DIR) / "models" /
                                        "tandem-demo")
                      .value()),
        grammar(text::GrammarTokenizer::make(tokenizer, tokenizer.vocabulary_size()).value()) {
    for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
      pieces.push_back(tokenizer.decode(std::vector{id}, false).value());
    }
  }

  bool closes(std::int32_t id) const {
    const std::string& piece = pieces[static_cast<std::size_t>(id)];
    return !piece.empty() && std::string_view("\"}]<").find(piece[0]) != std::string_view::npos;
  }

  text::Tokenizer tokenizer;
  text::GrammarTokenizer grammar;
  std::vector<std::string> pieces;  // each token's text
};

const Words& words() {
  static const Words kWords;
  return kWords;
}

bool allows(const std::vector<std::uint32_t>& mask, std::int32_t id) {
  return (mask[static_cast<std::size_t>(id) / 32] >> (id % 32) & 1) != 0;
}

/// Ids as text, with the markers that special ones stand for.
std::string text_of(const std::vector<std::int32_t>& ids, const OutputFormat& format) {
  std::string out;
  std::vector<std::int32_t> plain;
  const auto flush = [&] {
    out += words().tokenizer.decode(plain, false).value();
    plain.clear();
  };
  for (const std::int32_t id : ids) {
    const auto special = std::ranges::find(format.special_ids, id);
    if (special == format.special_ids.end()) {
      plain.push_back(id);
      continue;
    }
    flush();
    out += format.special_markers[static_cast<std::size_t>(special - format.special_ids.begin())];
  }
  flush();
  return out;
}

/// A random output of the grammar, which prefers what closes things; "" when it grew too long.
std::string walk(const text::Grammar& grammar, const OutputFormat& format,
                 std::mt19937_64& random) {
  auto matcher = text::GrammarMatcher::start(grammar);
  EXPECT_TRUE(matcher.ok());
  const std::int32_t end = words().tokenizer.eos_ids().front();
  std::vector<std::int32_t> ids;
  for (int step = 0; step < 400 && !matcher->complete(); ++step) {
    const auto mask = matcher->allowed();
    EXPECT_TRUE(mask.ok()) << text_of(ids, format);
    if (!mask.ok()) return "";
    std::vector<std::int32_t> all;
    std::vector<std::int32_t> closing;
    for (std::int32_t id = 0; id < words().tokenizer.vocabulary_size(); ++id) {
      if (id == end || !allows(*mask, id)) continue;
      all.push_back(id);
      if (words().closes(id)) closing.push_back(id);
    }
    if (all.empty() || (allows(*mask, end) && random() % 2 == 0)) return text_of(ids, format);
    const auto& from = closing.empty() || random() % 2 == 0 ? all : closing;
    ids.push_back(from[random() % from.size()]);
    EXPECT_TRUE(matcher->accept(ids.back()).ok());
  }
  return matcher->complete() ? text_of(ids, format) : "";
}

std::vector<ToolSpec> tools() {
  return {
      {.name = "get_weather",
       .parameters = nlohmann::ordered_json::parse(R"({"type":"object","properties":{
           "city":{"type":"string"},"days":{"type":"integer","minimum":1,"maximum":9},
           "units":{"enum":["c","f"]},"where":{"$ref":"#/$defs/place"},
           "note":{"type":["string","null"],"maxLength":9},"hourly":{"type":"boolean"}},
           "required":["city","units"],"additionalProperties":false,
           "$defs":{"place":{"type":"object","properties":{"x":{"type":"integer"}},
                             "required":["x"],"additionalProperties":false}}})"),
       .strict = true},
      {.name = "get_time", .parameters = {}, .strict = true},
  };
}

/// By hand, what the schema above says.
void check_weather(const json& arguments) {
  ASSERT_TRUE(arguments.is_object());
  ASSERT_TRUE(arguments.contains("city") && arguments["city"].is_string()) << arguments;
  ASSERT_TRUE(arguments.contains("units"));
  EXPECT_TRUE(arguments["units"] == "c" || arguments["units"] == "f") << arguments;
  for (const auto& [key, value] : arguments.items()) {
    if (key == "days") {
      EXPECT_TRUE(value.is_number_integer() && value >= 1 && value <= 9) << arguments;
    } else if (key == "where") {
      EXPECT_TRUE(value.is_object() && value.size() == 1 && value["x"].is_number_integer());
    } else if (key == "note") {
      EXPECT_TRUE(value.is_null() || value.is_string()) << arguments;
    } else if (key == "hourly") {
      EXPECT_TRUE(value.is_boolean());
    } else {
      EXPECT_TRUE(key == "city" || key == "units") << arguments;
    }
  }
}

void check_calls(const ParsedOutput& out, const std::string& text) {
  for (const ParsedCall& call : out.calls) {
    const json arguments = json::parse(call.arguments, nullptr, false);
    ASSERT_FALSE(arguments.is_discarded()) << call.arguments << " of " << text;
    if (call.name == "get_weather") {
      check_weather(arguments);
    } else {
      EXPECT_EQ(call.name, "get_time");
      EXPECT_EQ(arguments, json::object());
    }
  }
}

struct Style {
  ToolSyntax tools;
  bool special;  // its markers are special tokens
};

class ToolGrammar : public testing::TestWithParam<Style> {
 protected:
  OutputFormat format(ReasoningSyntax reasoning) const {
    OutputFormat out{.tools = GetParam().tools, .reasoning = reasoning};
    if (!GetParam().special) return out;
    for (const std::string_view marker : tool_markers(out.tools)) {
      if (out.special_ids.size() == std::size(kSpecialIds)) break;  // the others stay text
      out.special_ids.push_back(kSpecialIds[out.special_ids.size()]);
      out.special_markers.emplace_back(marker);
    }
    return out;
  }

  /// All of the tokenizer's, but for the one that ends an answer.
  static constexpr std::int32_t kSpecialIds[] = {0, 2, 3, 4};
};

TEST_P(ToolGrammar, AllowsOnlyCallsThatTheParserReads) {
  const std::uint64_t seed = 20240607;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const OutputFormat output = format(ReasoningSyntax::kThink);
  for (const bool parallel : {true, false}) {
    const auto source = tool_grammar(output, tools(), {.parallel = parallel});
    ASSERT_TRUE(source.ok()) << source.error().message;
    const auto grammar = text::Grammar::lark(words().grammar, *source);
    ASSERT_TRUE(grammar.ok()) << grammar.error().message << "\n" << *source;
    int calls = 0;
    for (int i = 0; i < 12; ++i) {
      const std::string text = walk(*grammar, output, random);
      if (text.empty()) continue;
      OutputOptions options = weather_options();
      options.tools = tools();
      const ParsedOutput out = parse_every_way(required_tool_format(output), options, text, random);
      EXPECT_EQ(out.content, "") << text << "\n" << *source;
      EXPECT_GE(out.calls.size(), 1U) << text;
      EXPECT_TRUE(parallel || out.calls.size() == 1) << text;
      check_calls(out, text);
      calls += static_cast<int>(out.calls.size());
    }
    EXPECT_GE(calls, 2);
  }
}

TEST_P(ToolGrammar, HoldsToTheNamedFunction) {
  std::mt19937_64 random(2);
  const OutputFormat output = format(ReasoningSyntax::kNone);
  const auto source = tool_grammar(output, tools(), {.name = "get_time"});
  ASSERT_TRUE(source.ok()) << source.error().message;
  const auto grammar = text::Grammar::lark(words().grammar, *source);
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  OutputOptions options = weather_options();
  options.tools = tools();
  for (int i = 0; i < 4; ++i) {
    const ParsedOutput out =
        parse_pieces(required_tool_format(output), options, {walk(*grammar, output, random)});
    ASSERT_FALSE(out.calls.empty());
    for (const ParsedCall& call : out.calls) EXPECT_EQ(call.name, "get_time");
  }
}

TEST_P(ToolGrammar, LetsTextComeInsteadWhereACallIsNotRequired) {
  std::mt19937_64 random(3);
  const OutputFormat output = format(ReasoningSyntax::kNone);
  const auto source = tool_grammar(output, tools(), {.required = false});
  ASSERT_TRUE(source.ok()) << source.error().message;
  const auto grammar = text::Grammar::lark(words().grammar, *source);
  ASSERT_TRUE(grammar.ok()) << grammar.error().message << "\n" << *source;
  auto matcher = text::GrammarMatcher::start(*grammar);
  ASSERT_TRUE(matcher.ok());
  const auto hello = words().tokenizer.encode("Hello, how are you?", false);
  for (const std::int32_t id : *hello) {
    ASSERT_TRUE(matcher->accept(id).ok());
  }
  EXPECT_TRUE(allows(*matcher->allowed(), words().tokenizer.eos_ids().front()));
}

INSTANTIATE_TEST_SUITE_P(
    Styles, ToolGrammar,
    testing::Values(Style{ToolSyntax::kNone, false}, Style{ToolSyntax::kHermes, false},
                    Style{ToolSyntax::kHermes, true}, Style{ToolSyntax::kQwenXml, false},
                    Style{ToolSyntax::kLlama, false}, Style{ToolSyntax::kMistral, true},
                    Style{ToolSyntax::kMistralArgs, true}, Style{ToolSyntax::kDeepseek, false},
                    Style{ToolSyntax::kDeepseek, true}, Style{ToolSyntax::kDeepseekV31, true},
                    Style{ToolSyntax::kGlm, false}, Style{ToolSyntax::kGlm, true}));

TEST(ToolGrammarErrors, NameTheFunctionAndTheRule) {
  const auto message = [](ToolSyntax syntax, const char* parameters) {
    const OutputFormat output{.tools = syntax};
    const std::vector<ToolSpec> list = {
        {.name = "f", .parameters = nlohmann::ordered_json::parse(parameters)}};
    const auto grammar = tool_grammar(output, list, {});
    return grammar.ok() ? "" : grammar.error().message;
  };
  EXPECT_EQ(message(ToolSyntax::kHermes, "[]"),
            "tools: parameters of 'f' must be a JSON schema, an object");
  EXPECT_EQ(message(ToolSyntax::kHermes, R"({"type": "array"})"),
            "tools: parameters of 'f' must be of type \"object\"");
  EXPECT_EQ(message(ToolSyntax::kGlm, R"({"oneOf": []})"),
            "tools: parameters of 'f' use 'oneOf', which this model's way to call cannot hold");
  EXPECT_EQ(message(ToolSyntax::kHermes, R"({"type": "object", "properties": {}})"), "");
  EXPECT_EQ(tool_grammar({}, tools(), {.name = "other"}).error().message,
            "tool_choice: names none of the tools");
}

}  // namespace
}  // namespace tandem::server
