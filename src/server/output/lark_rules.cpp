#include "server/output/lark_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "server/output/argument_value.h"
#include "server/output/markers.h"
#include "text/grammar.h"

namespace tandem::server {
namespace {

using nlohmann::ordered_json;

/// Any text as a lexeme; the shortest that ends in `end`.
std::string regex_through(std::string_view end) {
  std::string regex = "/(.|\\n)*";
  for (const char byte : end) {
    if (byte == '\n') {
      regex += "\\n";
    } else {
      if (std::string_view("/\\.[](){}*+?|^$").find(byte) != std::string_view::npos) regex += '\\';
      regex += byte;
    }
  }
  return regex + '/';
}

Error schema_error(const ToolSpec& tool, const std::string& rule) {
  return invalid(fmt::format("tools: parameters of '{}' {}", tool.name, rule));
}

/// Members that say no more of an object than its properties do.
constexpr std::array<std::string_view, 17> kPlainMembers = {
    "type",     "properties",  "required",    "additionalProperties",
    "$defs",    "definitions", "description", "title",
    "$schema",  "$id",         "$comment",    "default",
    "examples", "example",     "deprecated",  "readOnly",
    "writeOnly"};

bool is_plain(std::string_view member) {
  return member.starts_with("x-") ||
         std::ranges::find(kPlainMembers, member) != kPlainMembers.end();
}

bool requires_member(const ordered_json& schema, const std::string& name) {
  const auto required = schema.find("required");
  return required != schema.end() && required->is_array() &&
         std::ranges::find(*required, ordered_json(name)) != required->end();
}

/// A property's schema as one of its own, with the definitions that it may refer to.
ordered_json with_definitions(ordered_json property, const ordered_json& schema) {
  if (!property.is_object()) return property;
  for (const char* key : {"$defs", "definitions"}) {
    if (schema.contains(key) && !property.contains(key)) property[key] = schema[key];
  }
  return property;
}

/// A string's text up to the end of its argument. Of its rules enum and const are held.
Result<std::string> string_value(LarkRules& rules, const ordered_json& property,
                                 std::string_view end) {
  std::vector<ordered_json> values;
  if (property.contains("const")) {
    values.push_back(property["const"]);
  } else if (property.contains("enum") && property["enum"].is_array()) {
    values.assign(property["enum"].begin(), property["enum"].end());
  }
  if (values.empty()) return rules.text_through(end);
  std::string choices;
  for (const ordered_json& value : values) {
    if (!value.is_string()) continue;
    if (!choices.empty()) choices += " | ";
    choices += LarkRules::literal(value.get<std::string>());
  }
  return fmt::format("({}) {}", choices, rules.marker(end));
}

/// What stands before an argument's value.
std::string argument_head(const LarkRules& rules, bool glm, const std::string& name) {
  if (!glm) return LarkRules::literal(fmt::format("<parameter={}>\n", name));
  return fmt::format("{} {} {} \"\\n\" {}", rules.marker(marker::kArgKey), LarkRules::literal(name),
                     rules.marker(marker::kArgKeyEnd), rules.marker(marker::kArgValue));
}

}  // namespace

std::string LarkRules::literal(std::string_view text) {
  return ordered_json(text).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

bool LarkRules::is_special(std::string_view marker) const {
  return std::ranges::find(format_.special_markers, marker) != format_.special_markers.end();
}

std::string LarkRules::marker(std::string_view text) const {
  const auto found = std::ranges::find(format_.special_markers, text);
  if (found == format_.special_markers.end()) return literal(text);
  const auto index = static_cast<std::size_t>(found - format_.special_markers.begin());
  return fmt::format("<[{}]>", format_.special_ids[index]);
}

std::string LarkRules::add(std::string_view body, std::string_view options) {
  std::string name = fmt::format("r{}", count_++);
  rules_ += fmt::format("{}{}: {}\n", name, options, body);
  return name;
}

std::string LarkRules::text_through(std::string_view end) {
  // Special tokens are not part of any text, so they end it by themselves.
  if (is_special(end)) return add("/(.|\\n)*/") + " " + marker(end);
  return add(regex_through(end), "[lazy]");
}

Result<std::string> LarkRules::json(const ordered_json& schema) {
  Result<std::string> expression = text::lark_json(schema.dump());
  if (!expression) return expression.error();
  return add(*expression);
}

std::string LarkRules::text(std::string_view start) const {
  return fmt::format("start: {}\n{}", start, rules_);
}

Result<std::optional<ordered_json>> object_schema(const ToolSpec& tool) {
  using Schema = std::optional<ordered_json>;
  if (tool.parameters.is_null()) return Schema();
  if (!tool.parameters.is_object()) return schema_error(tool, "must be a JSON schema, an object");
  if (tool.parameters.empty()) return Schema();
  ordered_json schema = tool.parameters;
  if (!schema.contains("type")) schema["type"] = "object";
  if (schema["type"] != "object") return schema_error(tool, "must be of type \"object\"");
  return Schema(std::move(schema));
}

Result<std::string> tagged_arguments(LarkRules& rules, ToolSyntax syntax, const ToolSpec& tool) {
  const Result<std::optional<ordered_json>> schema = object_schema(tool);
  if (!schema) return schema.error();
  if (!*schema) return std::string();
  for (const auto& [key, value] : (*schema)->items()) {
    if (!is_plain(key)) {
      return schema_error(tool,
                          fmt::format("use '{}', which this model's way to call cannot hold", key));
    }
  }
  const ordered_json properties = (*schema)->value("properties", ordered_json::object());
  if (!properties.is_object()) return schema_error(tool, "must have an object as 'properties'");
  const bool glm = syntax == ToolSyntax::kGlm;
  const std::string_view end = glm ? marker::kArgValueEnd : std::string_view("\n</parameter>");
  std::string all;
  for (const auto& [name, property] : properties.items()) {
    const bool text = argument_types(**schema, name) == kStringType && property.is_object();
    Result<std::string> value = std::string();
    if (text) {
      value = string_value(rules, property, end);
    } else {
      value = rules.json(with_definitions(property, **schema));
      if (value) value = fmt::format("{} {}", *value, rules.marker(end));
    }
    if (!value) {
      return schema_error(
          tool, fmt::format("have a property '{}' with an {}", name, value.error().message));
    }
    all += fmt::format(" ({} {} \"\\n\"){}", argument_head(rules, glm, name), *value,
                       requires_member(**schema, name) ? "" : "?");
  }
  return all;
}

}  // namespace tandem::server
