// Random mixtures of what models write, right and wrong: however the text is cut the result is the
// same, and nothing is lost where no call is.

#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>

#include "server/output/markers.h"
#include "server/output/output_parser.h"
#include "support/parsed_output.h"

namespace tandem::server {
namespace {

constexpr std::array kSyntaxes = {
    ToolSyntax::kHermes,      ToolSyntax::kQwenXml,  ToolSyntax::kLlama,       ToolSyntax::kMistral,
    ToolSyntax::kMistralArgs, ToolSyntax::kDeepseek, ToolSyntax::kDeepseekV31, ToolSyntax::kGlm};

constexpr std::string_view kPieces[] = {"<think>",
                                        "</think>",
                                        "\n",
                                        " ",
                                        "Hello",
                                        "é",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        ";",
                                        "\"",
                                        "\\",
                                        "{\"name\": \"get_time\", \"arguments\": {}}",
                                        "{\"name\": \"get_weather\", \"parameters\": {",
                                        "\"city\": \"Oslo\"",
                                        "\"arguments\"",
                                        "get_time",
                                        "get_weather",
                                        "get_time\n",
                                        "null",
                                        "12",
                                        "function",
                                        "```json\n",
                                        "\n```",
                                        ">",
                                        "</tool_call>",
                                        "<parameter=city>",
                                        "</parameter>",
                                        "</function>",
                                        "<arg_key>city</arg_key>",
                                        "<arg_value>",
                                        "</arg_value>",
                                        "{\"city\": \"a\nb\"}"};

std::string random_text(ToolSyntax syntax, std::mt19937_64& random) {
  const std::vector<std::string_view> markers = tool_markers(syntax);
  const std::vector<std::string_view> openers = tool_openers(syntax);
  std::string text;
  const std::uint64_t count = 1 + random() % 14;
  for (std::uint64_t i = 0; i < count; ++i) {
    switch (random() % 4) {
      case 0:
        text += markers[random() % markers.size()];
        break;
      case 1:
        text += openers[random() % openers.size()];
        break;
      default:
        text += kPieces[random() % std::size(kPieces)];
    }
  }
  if (random() % 4 == 0) text.resize(random() % (text.size() + 1));
  return text;
}

TEST(OutputParserRandom, GivesTheSameHoweverTheTextIsCut) {
  const std::uint64_t seed = 20240607;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 6000 && !testing::Test::HasFailure(); ++i) {
    const OutputFormat format = {.tools = kSyntaxes[random() % kSyntaxes.size()],
                                 .reasoning = ReasoningSyntax::kThink};
    OutputOptions options = weather_options();
    options.stream_arguments = random() % 2 == 0;
    options.starts_in_reasoning = random() % 4 == 0;
    const std::string text = random_text(format.tools, random);
    const ParsedOutput out = parse_every_way(format, options, text, random);
    for (const ParsedCall& call : out.calls) {
      if (!out.whole) continue;  // one broke or was cut off
      EXPECT_TRUE(nlohmann::json::parse(call.arguments, nullptr, false).is_object())
          << call.arguments << " of " << text;
    }
  }
}

/// Without the white space, which formats drop around their markers.
std::string dense(std::string_view text) {
  std::string out;
  for (const char byte : text) {
    if (kSpaces.find(byte) == std::string_view::npos) out += byte;
  }
  return out;
}

TEST(OutputParserRandom, LosesNothingOfTextWithoutACall) {
  const std::uint64_t seed = 7;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  int without = 0;
  for (int i = 0; i < 6000; ++i) {
    const OutputFormat format = {.tools = kSyntaxes[random() % kSyntaxes.size()]};
    OutputOptions options = weather_options();
    options.stream_arguments = false;
    const std::string text = random_text(format.tools, random);
    const ParsedOutput out = parse_pieces(format, options, {text});
    if (!out.calls.empty()) continue;
    ++without;
    // But for the markup of a call that was cut off before its name.
    const std::string all = dense(text);
    const std::string kept = dense(out.content);
    ASSERT_TRUE(all.starts_with(kept)) << text << " gave " << out.content;
    const std::string_view rest = std::string_view(all).substr(kept.size());
    const auto opens = [&](std::string_view opener) { return rest.starts_with(dense(opener)); };
    EXPECT_TRUE(rest.empty() || std::ranges::any_of(tool_openers(format.tools), opens)) << text;
  }
  EXPECT_GT(without, 1000);
}

}  // namespace
}  // namespace tandem::server
