// What models write, right and wrong: however it is cut, content, reasoning and calls are the same;
// without a format all is content; calls that are not streamed have whole arguments; and whatever
// is found is one event of a stream. The first two bytes pick the format and the cuts.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/fuzz.h"
#include "server/api/reply_format.h"
#include "server/output/output_parser.h"

namespace {

using namespace tandem::server;
using tandem::fuzz::require;

struct Parsed {
  std::string content;
  std::string reasoning;
  std::vector<ToolCallDelta> calls;
  bool whole = true;  // the calls

  void add(const OutputDelta& delta) {
    content += delta.content;
    reasoning += delta.reasoning;
    for (const ToolCallDelta& piece : delta.tools) {
      require(piece.index >= 0 && piece.index < kMaxToolCalls);
      const auto index = static_cast<std::size_t>(piece.index);
      if (index == calls.size()) {
        require(!piece.id.empty() && !piece.name.empty());
        calls.push_back(piece);
        continue;
      }
      require(index + 1 == calls.size() && piece.id.empty() && piece.name.empty());
      calls[index].arguments += piece.arguments;
    }
  }

  bool operator==(const Parsed& other) const {
    if (calls.size() != other.calls.size()) return false;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (calls[i].name != other.calls[i].name) return false;
      if (calls[i].arguments != other.calls[i].arguments) return false;
    }
    return whole == other.whole && content == other.content && reasoning == other.reasoning;
  }
};

/// Two functions: one with parameters of every kind, one without.
std::vector<ToolSpec> tools() {
  static const auto parameters = Json::parse(
      R"({"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"},
         "units":{"enum":["c","f"]},"hourly":{"type":"boolean"},"tags":{"type":"array"},
         "where":{"$ref":"#/$defs/place"},"note":{"type":["string","null"]}},
         "$defs":{"place":{"type":"object"}}})");
  return {{.name = "get_weather", .parameters = parameters},
          {.name = "get_time", .parameters = {}}};
}

OutputOptions make_options(std::uint8_t picks) {
  OutputOptions options;
  if ((picks & 1) != 0) options.tools = tools();
  options.stream_arguments = (picks & 2) != 0;
  options.starts_in_reasoning = (picks & 4) != 0;
  options.split_reasoning = (picks & 8) != 0;
  options.random = [state = std::uint64_t{7}]() mutable {
    return (state = state * 6364136223846793005U + 1442695040888963407U) >> 33;
  };
  return options;
}

/// One line of data and an empty one.
void check_event(const OutputDelta& delta) {
  const auto format = chat_format(std::nullopt, false);
  ChoicePart part;
  part.output = delta;
  const std::string event = sse(format->chunk({}, part));
  require(event.starts_with("data: {") && event.ends_with("}\n\n"));
  require(event.find('\n') == event.size() - 2 && event.find('\r') == std::string::npos);
}

Parsed parse(const OutputFormat& format, const OutputOptions& options,
             const std::vector<std::string_view>& pieces) {
  OutputParser parser(format, options);
  Parsed parsed;
  for (const std::string_view piece : pieces) {
    const OutputDelta delta = parser.push(piece);
    if (!delta.empty() && pieces.size() < 20) check_event(delta);  // writing JSON takes longest
    parsed.add(delta);
  }
  parsed.add(parser.finish());
  // None counts where one was cut off or broke.
  parsed.whole = parser.tool_calls() == static_cast<int>(parsed.calls.size());
  require(parsed.whole || parser.tool_calls() == 0);
  return parsed;
}

bool is_utf8(std::string_view text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::fuzz::Input input(data, size);
  const std::uint8_t kinds = input.byte();
  const std::uint8_t picks = input.byte();
  const std::string_view text = input.rest();
  if (!is_utf8(text)) return -1;  // decoders of tokens give none
  const OutputFormat format = {.tools = static_cast<ToolSyntax>(kinds % 9),
                               .reasoning = static_cast<ReasoningSyntax>(kinds / 9 % 3)};
  const OutputOptions options = make_options(picks);
  const Parsed whole = parse(format, options, {text});
  const std::uint32_t state = kinds * 256U + picks;
  for (const std::uint32_t most : {1U, 3U, 20U}) {
    require(parse(format, options, tandem::fuzz::pieces(text, state, most)) == whole);
  }
  std::size_t bytes = whole.content.size() + whole.reasoning.size();
  for (const ToolCallDelta& call : whole.calls) {
    bytes += call.name.size() + call.arguments.size();
    const bool is_object = Json::parse(call.arguments, nullptr, false).is_object();
    require(options.stream_arguments || !whole.whole || is_object);
  }
  // An argument without quotes becomes a JSON string: up to six bytes for one.
  require(bytes <= 6 * text.size() + 64 * (1 + whole.calls.size()));
  const bool formatted = !options.tools.empty() && format.tools != ToolSyntax::kNone;
  const bool reasons = options.split_reasoning && format.reasoning != ReasoningSyntax::kNone;
  if (!formatted && !reasons) require(whole.content == text);
  return 0;
}
