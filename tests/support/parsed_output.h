#pragma once
// Runs an OutputParser over text that is cut in many ways.

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "server/output/output_parser.h"

namespace tandem::server {

struct ParsedCall {
  std::string name;
  std::string arguments;
  std::string id;
};

struct ParsedOutput {
  std::string content;
  std::string reasoning;
  std::vector<ParsedCall> calls;
  bool whole = true;  // all calls are

  void add(const OutputDelta& delta) {
    content += delta.content;
    reasoning += delta.reasoning;
    for (const ToolCallDelta& piece : delta.tools) {
      const auto index = static_cast<std::size_t>(piece.index);
      if (index == calls.size()) {
        EXPECT_FALSE(piece.id.empty()) << "a call's first piece has its id";
        EXPECT_FALSE(piece.name.empty());
        calls.push_back({.name = piece.name, .arguments = "", .id = piece.id});
      } else {
        EXPECT_EQ(index + 1, calls.size()) << "calls come one after another";
        EXPECT_TRUE(piece.id.empty() && piece.name.empty());
      }
      if (index < calls.size()) calls[index].arguments += piece.arguments;
    }
  }

  /// Everything but the ids, to compare with.
  std::string text() const {
    std::string out = "content<" + content + "> reasoning<" + reasoning + ">";
    for (const ParsedCall& call : calls) out += " " + call.name + "(" + call.arguments + ")";
    return out;
  }
};

/// Options with the tools that the cases below call.
inline OutputOptions weather_options() {
  using json = nlohmann::ordered_json;
  OutputOptions options;
  options.tools = {
      {.name = "get_weather", .parameters = json::parse(R"({"type":"object","properties":{
           "city":{"type":"string"},"days":{"type":"integer"},"units":{"enum":["c","f"]},
           "hourly":{"type":"boolean"},"where":{"$ref":"#/$defs/place"},
           "tags":{"type":"array"},"note":{"type":["string","null"]}},
           "required":["city"],"$defs":{"place":{"type":"object"}}})")},
      {.name = "get_time", .parameters = json()},
  };
  options.random = [state = std::uint64_t{7}]() mutable {
    return (state = state * 6364136223846793005U + 1442695040888963407U) >> 33;
  };
  return options;
}

/// Pushes `pieces` and finishes.
inline ParsedOutput parse_pieces(const OutputFormat& format, const OutputOptions& options,
                                 const std::vector<std::string_view>& pieces) {
  OutputParser parser(format, options);
  ParsedOutput out;
  for (const std::string_view piece : pieces) out.add(parser.push(piece));
  out.add(parser.finish());
  const int calls = static_cast<int>(out.calls.size());
  out.whole = parser.tool_calls() == calls;
  EXPECT_TRUE(out.whole || parser.tool_calls() == 0);
  return out;
}

/// Whole, byte for byte, and cut at random: all must give the same.
inline ParsedOutput parse_every_way(const OutputFormat& format, const OutputOptions& options,
                                    std::string_view text, std::mt19937_64& random) {
  const ParsedOutput whole = parse_pieces(format, options, {text});
  for (int way = 0; way < 12; ++way) {
    std::vector<std::string_view> pieces;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = way == 0 ? 1 : 1 + random() % (way < 6 ? 4 : 20);
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    EXPECT_EQ(parse_pieces(format, options, pieces).text(), whole.text()) << "text: " << text;
  }
  return whole;
}

}  // namespace tandem::server
