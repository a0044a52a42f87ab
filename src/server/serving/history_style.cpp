#include "server/serving/history_style.h"

#include <string_view>
#include <utility>

#include "server/api/lenient_json.h"

namespace tandem::server {
namespace {

constexpr std::string_view kName = "probe_name";
constexpr std::string_view kKey = "probe_key";
constexpr std::string_view kValue = "probe_value";
constexpr std::string_view kText = "probe_text";

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// A turn with a call, and the tool's result if `answered`.
std::string conversation(std::string_view content, bool answered) {
  const Json arguments = {{kKey, kValue}};
  const Json call = {{"id", "probe0001"},  // nine letters and digits: Mistral's rule
                     {"type", "function"},
                     {"function", {{"name", kName}, {"arguments", arguments.dump()}}}};
  Json messages = Json::array();
  messages.push_back({{"role", "user"}, {"content", "probe_user"}});
  messages.push_back(
      {{"role", "assistant"}, {"content", content}, {"tool_calls", Json::array({call})}});
  if (answered) {
    messages.push_back({{"role", "tool"},
                        {"name", kName},
                        {"tool_call_id", "probe0001"},
                        {"content", "probe_result"}});
  }
  return messages.dump();
}

/// Whether the call stands in the text, its arguments neither in Python's spelling nor quoted
/// twice, and no content that is none was written out.
bool shows_call(const std::string& text) {
  return has(text, kName) && has(text, kKey) && has(text, kValue) && !has(text, "{'probe_key'") &&
         !has(text, "\\\"probe_key") && !has(text, "None");
}

Json arguments_in(const HistoryStyle& style, const std::string& text) {
  auto object = read_lenient_object(text);
  if (!object) return text;
  if (!style.text_arguments) return std::move(*object);
  return object->empty() ? Json("{}") : Json(text);
}

}  // namespace

HistoryStyle probe_history(const RenderHistory& render) {
  for (const bool answered : {true, false}) {
    for (const bool text : {false, true}) {
      for (const bool null : {false, true}) {
        HistoryStyle style{.null_content = null, .text_arguments = text};
        const auto alone = render(in_style(style, conversation("", answered)));
        if (!alone || !shows_call(*alone)) continue;
        const auto both = render(in_style(style, conversation(kText, answered)));
        if (both && shows_call(*both)) return style;
        style.calls_apart = true;
        const auto apart = render(in_style(style, conversation(kText, answered)));
        style.calls_apart = apart && shows_call(*apart) && has(*apart, kText);
        return style;
      }
    }
  }
  return {};
}

std::string in_style(const HistoryStyle& style, const std::string& messages) {
  // Most conversations have no calls.
  if (!has(messages, "\"tool_calls\"")) return messages;
  Json out = Json::array();
  for (Json& message : Json::parse(messages)) {
    const auto calls = message.find("tool_calls");
    if (calls == message.end()) {
      out.push_back(std::move(message));
      continue;
    }
    for (Json& call : *calls) {
      Json& arguments = call["function"]["arguments"];
      arguments = arguments_in(style, arguments.get<std::string>());
    }
    const bool text = message["content"] != "";
    if (text && style.calls_apart) {
      Json said = message;
      said.erase("tool_calls");
      out.push_back(std::move(said));
    }
    if (!text || style.calls_apart) {
      message["content"] = style.null_content ? Json(nullptr) : Json("");
    }
    out.push_back(std::move(message));
  }
  return out.dump();
}

}  // namespace tandem::server
