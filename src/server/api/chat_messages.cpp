#include "server/api/chat_messages.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace tandem::server {
namespace {

constexpr std::size_t kToolCallsMax = 1024;  // of one message

/// Content as one string: a string, or the texts of a list of parts.
std::optional<std::string> read_content(Fields& message, const RequestLimits& limits) {
  const Json* content = message.value("content");
  if (content == nullptr) return std::nullopt;
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) {
    message.wrong_type("content", "a string or an array of parts");
    return std::nullopt;
  }
  content = message.array("content", limits.parts_max);
  if (content == nullptr) return std::nullopt;
  if (content->empty()) {
    const std::string path = message.path("content");
    message.fail(
        {.message = fmt::format("Invalid '{}': empty array. Expected one part or more.", path),
         .param = path,
         .code = "empty_array"});
    return std::nullopt;
  }
  std::string text;
  for (std::size_t i = 0; i < content->size(); ++i) {
    Fields part = message.element("content", i, (*content)[i]);
    part.require("type");
    const std::string type = part.string("type").value_or("text");
    if (type == "text") {
      part.require("text");
      text += part.string("text").value_or("");
    } else if (type == "refusal") {
      text += part.string("refusal").value_or("");
    } else {
      part.fail(invalid_value(part.path("type"),
                              fmt::format("Invalid value: '{}'. This model reads text parts only.",
                                          type.substr(0, 100))));
    }
    if (part.failed()) return std::nullopt;
  }
  return text;
}

Json read_tool_calls(Fields& message) {
  Json calls = Json::array();
  const Json* list = message.array("tool_calls", kToolCallsMax);
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    Fields call = message.element("tool_calls", i, (*list)[i]);
    call.choice("type", {"function"});
    const auto id = call.string("id");
    call.integer("index", 0, 1 << 20);  // what streamed calls bring along
    call.require("function");
    auto function = call.nested("function");
    if (!function) break;
    function->require("name");
    function->require("arguments");
    Json copy = {{"name", function->string("name").value_or("")},
                 {"arguments", function->string("arguments").value_or("")}};
    Json out = {{"type", "function"}};
    if (id) out["id"] = *id;
    out["function"] = std::move(copy);
    calls.push_back(std::move(out));
  }
  return calls;
}

/// What would change the text that the model reads. Anything else that clients send back of an
/// answer (parsed, provider_specific_fields, reasoning_details, ids, cache hints) is passed over.
void refuse_other_content(Fields& message) {
  message.refuse("audio", "this model reads text only.");
  message.refuse("function_call", "use tool_calls.");
}

Json read_assistant(Fields& message, const Json& raw, const RequestLimits& limits) {
  Json out = {{"role", "assistant"}};
  const auto content = read_content(message, limits);
  Json calls = read_tool_calls(message);
  // A null is an answer without text; a message without the member is none.
  if (calls.empty() && !raw.contains("content")) message.require("content");
  out["content"] = content.value_or("");
  const auto reasoning = message.string("reasoning_content");
  const auto newer = message.string("reasoning");
  if (reasoning || newer) out["reasoning_content"] = reasoning ? *reasoning : *newer;
  if (!calls.empty()) out["tool_calls"] = std::move(calls);
  refuse_other_content(message);
  return out;
}

Json read_message(Fields& message, const Json& raw, const RequestLimits& limits) {
  message.require("role");
  const auto role = message.choice("role", {"system", "developer", "user", "assistant", "tool"});
  if (!role) return nullptr;
  Json out;
  if (*role == "assistant") {
    out = read_assistant(message, raw, limits);
  } else {
    out = {{"role", *role == "developer" ? "system" : *role}};
    message.require("content");
    out["content"] = read_content(message, limits).value_or("");
    if (*role == "tool") {
      message.require("tool_call_id");
      out["tool_call_id"] = message.string("tool_call_id").value_or("");
    }
  }
  if (const auto name = message.string("name")) out["name"] = *name;
  return out;
}

}  // namespace

Messages read_messages(Fields& fields, const RequestLimits& limits) {
  Messages messages;
  fields.require("messages");
  const Json* list = fields.array("messages", limits.messages_max);
  if (list == nullptr) return messages;
  if (list->empty()) {
    fields.fail({.message =
                     "Invalid 'messages': empty array. Expected an array with minimum length "
                     "1, but got an empty array instead.",
                 .param = "messages",
                 .code = "empty_array"});
    return messages;
  }
  Json out = Json::array();
  for (std::size_t i = 0; i < list->size() && !fields.failed(); ++i) {
    Fields message = fields.element("messages", i, (*list)[i]);
    out.push_back(read_message(message, (*list)[i], limits));
  }
  if (fields.failed()) return messages;
  messages.ends_with_assistant = out.back()["role"] == "assistant";
  messages.json = out.dump();
  return messages;
}

}  // namespace tandem::server
