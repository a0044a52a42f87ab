#include "client/reply_reader.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "config/json.h"

namespace tandem::client {
namespace {

using nlohmann::json;

constexpr std::size_t kShownMax = 200;  // bytes of a body that is not understood

/// A member of an object; null when there is none.
const json& member(const json& object, const char* name) {
  static const json none;
  if (!object.is_object()) return none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

std::uint64_t count(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
}

bool says_something(const json& value) {
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return value.is_array() && !value.empty();
}

bool has_text(const json& choice) {
  if (says_something(member(choice, "text"))) return true;
  const json& delta = member(choice, "delta");
  return std::ranges::any_of(
      std::initializer_list<const char*>{"content", "reasoning_content", "reasoning", "tool_calls"},
      [&](const char* name) { return says_something(member(delta, name)); });
}

/// The text of {"error": {"message": …}} or {"error": …}; nullopt: no error.
std::optional<std::string> error_of(const json& object) {
  const json& error = member(object, "error");
  if (error.is_null()) return std::nullopt;
  const json& message = member(error, "message");
  if (message.is_string()) return message.get<std::string>();
  if (error.is_string()) return error.get<std::string>();
  return error.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

Result<StreamPiece> read_event(std::string_view event) {
  auto parsed = config::parse_json(event, "the stream");
  if (!parsed) return Error{ErrorCode::kInternal, parsed.error().message};
  if (!parsed->is_object()) {
    return Error{ErrorCode::kInternal, "the stream: an event is no JSON object"};
  }
  if (auto error = error_of(*parsed)) return Error{ErrorCode::kUnavailable, std::move(*error)};
  StreamPiece piece;
  const json& choices = member(*parsed, "choices");
  piece.text = choices.is_array() && std::ranges::any_of(choices, has_text);
  const json& usage = member(*parsed, "usage");
  if (usage.is_object()) {
    piece.usage = TokenUsage{count(usage, "prompt_tokens"),
                             count(member(usage, "prompt_tokens_details"), "cached_tokens"),
                             count(usage, "completion_tokens")};
  }
  return piece;
}

std::string error_message(std::string_view body) {
  if (auto parsed = config::parse_json(body, "the answer")) {
    if (auto error = error_of(*parsed)) return *error;
    const json& message = member(*parsed, "message");
    if (message.is_string()) return message.get<std::string>();
  }
  std::string shown(body.substr(0, kShownMax));
  if (body.size() > kShownMax) shown += "…";
  return shown.empty() ? "no reason given" : shown;
}

Result<ModelEntry> first_model(std::string_view body) {
  auto parsed = config::parse_json(body, "the answer");
  if (!parsed) return Error{ErrorCode::kUnavailable, parsed.error().message};
  const json& data = member(*parsed, "data");
  const Error none{ErrorCode::kUnavailable, "names no model"};
  if (!data.is_array() || data.empty()) return none;
  const json& id = member(data.front(), "id");
  if (!id.is_string()) return none;
  const std::uint64_t vocabulary = count(member(data.front(), "meta"), "n_vocab");
  constexpr std::uint64_t kMax = std::numeric_limits<std::int32_t>::max();
  return ModelEntry{id.get<std::string>(), static_cast<std::int32_t>(std::min(vocabulary, kMax))};
}

}  // namespace tandem::client
