#include "server/output/argument_value.h"

#include <array>
#include <optional>
#include <utility>

#include "server/output/json_call.h"
#include "server/output/json_scanner.h"
#include "server/output/markers.h"

namespace tandem::server {
namespace {

using json = nlohmann::ordered_json;

/// Deepest chain of references and combinations that is followed.
constexpr int kMaxSchemaHops = 16;

JsonTypes named_type(const json& type) {
  if (type == "string") return kStringType;
  if (type == "number" || type == "integer") return kNumberType;
  if (type == "boolean") return kBooleanType;
  if (type == "null") return kNullType;
  if (type == "object") return kObjectType;
  if (type == "array") return kArrayType;
  return kAnyType;
}

JsonTypes type_of(const json& value) {
  switch (value.type()) {
    case json::value_t::string:
      return kStringType;
    case json::value_t::boolean:
      return kBooleanType;
    case json::value_t::null:
      return kNullType;
    case json::value_t::object:
      return kObjectType;
    case json::value_t::array:
      return kArrayType;
    default:
      return kNumberType;
  }
}

const json* member(const json& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

/// "#/$defs/name" inside `root`; null when it is not there.
const json* referenced(const json& root, const json& reference) {
  if (!reference.is_string()) return nullptr;
  const std::string& text = reference.get_ref<const std::string&>();
  if (!text.starts_with("#/")) return nullptr;
  const json* at = &root;
  for (std::size_t begin = 2; at != nullptr && begin <= text.size();) {
    const std::size_t end = std::min(text.find('/', begin), text.size());
    at = member(*at, std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
  }
  return at;
}

JsonTypes schema_types(const json& schema, const json& root, int hops);

JsonTypes listed_types(const json& list, const json& root, int hops,
                       JsonTypes (*of)(const json&, const json&, int)) {
  if (!list.is_array()) return kAnyType;
  JsonTypes types = 0;
  for (const json& item : list) types |= of(item, root, hops);
  return types == 0 ? kAnyType : types;
}

JsonTypes schema_types(const json& schema, const json& root, int hops) {
  if (hops == 0 || !schema.is_object()) return kAnyType;
  JsonTypes types = kAnyType;
  const auto name = [](const json& type, const json&, int) { return named_type(type); };
  const auto value = [](const json& item, const json&, int) { return type_of(item); };
  if (const json* type = member(schema, "type")) {
    types &= type->is_array() ? listed_types(*type, root, 0, name) : named_type(*type);
  }
  if (const json* values = member(schema, "enum")) types &= listed_types(*values, root, 0, value);
  if (const json* only = member(schema, "const")) types &= type_of(*only);
  for (const char* key : {"anyOf", "oneOf"}) {
    const json* list = member(schema, key);
    if (list != nullptr) types &= listed_types(*list, root, hops - 1, schema_types);
  }
  if (const json* all = member(schema, "allOf"); all != nullptr && all->is_array()) {
    for (const json& part : *all) types &= schema_types(part, root, hops - 1);
  }
  if (const json* reference = member(schema, "$ref")) {
    const json* target = referenced(root, *reference);
    if (target != nullptr) types &= schema_types(*target, root, hops - 1);
  }
  return types == 0 ? kAnyType : types;
}

/// The type of text that is one JSON value; nullopt for other text.
std::optional<JsonTypes> written_type(std::string_view text) {
  // A scanner completes only strings and containers, so the value goes into an array.
  JsonScanner scanner;
  scanner.feed('[');
  int values = 0;
  for (const char byte : text) {
    const JsonScanner::Event event = scanner.feed(byte);
    if (event == JsonScanner::Event::kError || scanner.done()) return std::nullopt;
    if (event == JsonScanner::Event::kValueBegin && scanner.level() == 1) ++values;
  }
  if (values != 1) return std::nullopt;
  scanner.feed(']');
  if (!scanner.done()) return std::nullopt;
  switch (text.front()) {
    case '"':
      return kStringType;
    case '{':
      return kObjectType;
    case '[':
      return kArrayType;
    case 't':
    case 'f':
      return kBooleanType;
    case 'n':
      return kNullType;
    case ']':
      return std::nullopt;
    default:
      return kNumberType;
  }
}

}  // namespace

JsonTypes argument_types(const json& parameters, std::string_view name) {
  const json* properties = member(parameters, "properties");
  const json* schema = properties == nullptr ? nullptr : member(*properties, name);
  return schema == nullptr ? kAnyType : schema_types(*schema, parameters, kMaxSchemaHops);
}

std::string json_argument(std::string_view text, JsonTypes types) {
  std::string_view trimmed = text.substr(leading_spaces(text));
  trimmed.remove_suffix(trailing_spaces(trimmed));
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kPython = {
      {{"True", "true"}, {"False", "false"}, {"None", "null"}}};
  for (const auto& [python, word] : kPython) {
    if (trimmed == python && types != kAnyType) trimmed = word;
  }
  const JsonTypes written = trimmed.empty() ? 0 : written_type(trimmed).value_or(0);
  const bool as_written = (written & types) != 0 && types != kStringType;
  std::string out;
  if (as_written) {
    bool in_string = false;
    bool escaped = false;
    for (const char byte : trimmed) {
      append_json_byte(out, byte, in_string);
      if (byte == '"' && !escaped) in_string = !in_string;
      escaped = byte == '\\' && !escaped;
    }
    return out;
  }
  out += '"';
  append_escaped(out, text);
  out += '"';
  return out;
}

void append_escaped(std::string& out, std::string_view text) {
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') out += '\\';
    append_json_byte(out, byte, true);
  }
}

}  // namespace tandem::server
