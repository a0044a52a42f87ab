#include "server/api/output_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

namespace tandem::server {
namespace {

using Kind = OutputGrammar::Kind;

constexpr std::size_t kListedChoicesMax = 1024;  // of structured_outputs.choice
constexpr std::size_t kNameMax = 64;             // of a function, OpenAI's limit
constexpr std::size_t kAllowedToolsMax = 128;
constexpr const char* kNoTools = "'tool_choice' is only allowed when 'tools' are specified.";

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameMax && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

void check_name(Fields& fields, std::string_view name) {
  if (fields.failed() || is_name(name)) return;
  fields.fail(invalid_value(
      fields.path("name"),
      fmt::format("Invalid '{}': a name has 1 to {} letters, digits, underscores and dashes.",
                  fields.path("name"), kNameMax)));
}

OutputGrammar read_response_format(Fields& fields) {
  OutputGrammar grammar;
  auto format = fields.nested("response_format");
  if (!format) return grammar;
  format->require("type");
  const auto type = format->choice("type", {"text", "json_object", "json_schema"});
  if (type == "json_object") {
    grammar = {Kind::kJsonObject, "", "response_format"};
  } else if (type == "json_schema") {
    format->require("json_schema");
    auto schema = format->nested("json_schema");
    if (!schema) return grammar;
    schema->require("name");
    check_name(*schema, schema->string("name").value_or(""));
    schema->string("description");
    schema->boolean("strict");  // every schema is enforced
    schema->require("schema");
    const Json* value = schema->object("schema");
    schema->finish();
    if (value != nullptr) {
      grammar = {Kind::kJsonSchema, value->dump(), "response_format.json_schema.schema"};
    }
  }
  format->finish();
  return grammar;
}

/// One of the listed texts as it stands: a regular expression of quoted alternatives.
std::string alternatives(const Json& choices) {
  std::string pattern;
  for (const Json& choice : choices) {
    if (!pattern.empty()) pattern += '|';
    for (const char c : choice.get_ref<const std::string&>()) {
      if (std::string_view(R"(\.+*?()|[]{}^$#&-~/)").find(c) != std::string_view::npos) {
        pattern += '\\';
      }
      pattern += c;
    }
  }
  return pattern;
}

OutputGrammar read_structured_outputs(Fields& fields) {
  OutputGrammar grammar;
  auto outputs = fields.nested("structured_outputs");
  if (!outputs) return grammar;
  const auto path = [&](std::string_view name) { return outputs->path(name); };
  int kinds = 0;
  if (const Json* schema = outputs->value("json")) {
    const bool text = schema->is_string();
    grammar = {Kind::kJsonSchema, text ? schema->get<std::string>() : schema->dump(), path("json")};
    ++kinds;
  }
  if (const auto pattern = outputs->string("regex")) {
    grammar = {Kind::kRegex, *pattern, path("regex")};
    ++kinds;
  }
  if (const auto lark = outputs->string("grammar")) {
    grammar = {Kind::kLark, *lark, path("grammar")};
    ++kinds;
  }
  if (const Json* choices = outputs->array("choice", kListedChoicesMax)) {
    const auto text = [](const Json& one) { return one.is_string(); };
    if (choices->empty() || !std::ranges::all_of(*choices, text)) {
      outputs->wrong_type("choice", "a list of one string or more");
    } else {
      grammar = {Kind::kRegex, alternatives(*choices), path("choice")};
    }
    ++kinds;
  }
  outputs->finish();
  if (kinds != 1) {
    fields.fail(invalid_value("structured_outputs",
                              "Invalid 'structured_outputs': give one of 'json', 'regex', 'choice' "
                              "and 'grammar'."));
  }
  return grammar;
}

ToolSpec read_tool(Fields& tool) {
  ToolSpec spec;
  tool.require("type");
  tool.choice("type", {"function"});
  tool.require("function");
  auto function = tool.nested("function");
  if (!function) return spec;
  function->require("name");
  spec.name = function->string("name").value_or("");
  check_name(*function, spec.name);
  function->string("description");
  if (const Json* parameters = function->object("parameters")) spec.parameters = *parameters;
  spec.strict = function->boolean("strict").value_or(false);
  function->finish();
  tool.finish();
  return spec;
}

/// A call says its tool by the name alone.
void check_distinct(Fields& fields, const std::vector<ToolSpec>& tools) {
  std::set<std::string_view> names;
  for (const ToolSpec& tool : tools) {
    if (names.insert(tool.name).second) continue;
    fields.fail(invalid_value(
        "tools", fmt::format("Invalid 'tools': two functions have the name '{}'.", tool.name)));
  }
}

/// {"type": "allowed_tools", "allowed_tools": {"mode", "tools": [{"type", "function": {"name"}}]}}:
/// the model is shown those tools only, and may or must call one.
void read_allowed_tools(Fields& choice, ToolRequest& request) {
  choice.require("allowed_tools");
  auto allowed = choice.nested("allowed_tools");
  if (!allowed) return;
  allowed->require("mode");
  const auto mode = allowed->choice("mode", {"auto", "required"});
  allowed->require("tools");
  const Json* list = allowed->array("tools", kAllowedToolsMax);
  std::set<std::string> names;
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    Fields tool = allowed->element("tools", i, (*list)[i]);
    tool.require("type");
    tool.choice("type", {"function"});
    tool.require("function");
    if (auto function = tool.nested("function")) {
      function->require("name");
      names.insert(function->string("name").value_or(""));
      function->finish();
    }
    tool.finish();
  }
  allowed->finish();
  if (choice.failed()) return;
  const auto named = [&](const ToolSpec& tool) { return names.contains(tool.name); };
  const auto kept = static_cast<std::size_t>(std::ranges::count_if(request.tools, named));
  if (kept == 0 || kept != names.size()) {
    choice.fail(
        invalid_value(choice.path("allowed_tools"),
                      "Invalid 'tool_choice.allowed_tools': names one or more of 'tools'."));
    return;
  }
  Json shown = Json::array();
  for (const Json& tool : Json::parse(request.json)) {
    if (names.contains(tool["function"]["name"].get<std::string>())) shown.push_back(tool);
  }
  request.json = shown.dump();
  std::erase_if(request.tools, [&](const ToolSpec& tool) { return !named(tool); });
  if (mode == "required") request.choice = ToolRequest::Choice::kRequired;
}

void read_tool_choice(Fields& fields, ToolRequest& request) {
  using Choice = ToolRequest::Choice;
  request.choice = request.tools.empty() ? Choice::kNone : Choice::kAuto;
  const Json* value = fields.value("tool_choice");
  if (value == nullptr) return;
  if (value->is_string()) {
    const auto choice = fields.choice("tool_choice", {"none", "auto", "required"});
    if (choice == "none") request.choice = Choice::kNone;
    if (choice == "required") request.choice = Choice::kRequired;
  } else if (auto named = fields.nested("tool_choice")) {
    named->require("type");
    const auto type = named->choice("type", {"function", "allowed_tools"});
    if (type == "allowed_tools") {
      if (request.tools.empty()) named->fail(invalid_value("tool_choice", kNoTools));
      if (!named->failed()) read_allowed_tools(*named, request);
      named->finish();
      return;
    }
    named->require("function");
    if (auto function = named->nested("function")) {
      function->require("name");
      request.name = function->string("name").value_or("");
      function->finish();
    }
    named->finish();
    request.choice = Choice::kNamed;
  }
  if (request.choice == Choice::kNone || fields.failed()) return;
  if (request.tools.empty()) {
    fields.fail(invalid_value("tool_choice", kNoTools));
  }
  const auto same = [&](const ToolSpec& tool) { return tool.name == request.name; };
  if (request.choice == Choice::kNamed && std::ranges::none_of(request.tools, same)) {
    fields.fail(
        invalid_value("tool_choice", fmt::format("Tool choice '{}' not found in 'tools' parameter.",
                                                 request.name.substr(0, kNameMax))));
  }
}

}  // namespace

OutputGrammar read_output_grammar(Fields& fields) {
  OutputGrammar format = read_response_format(fields);
  OutputGrammar structured = read_structured_outputs(fields);
  if (format.kind == Kind::kNone) return structured;
  if (structured.kind != Kind::kNone) {
    fields.fail(invalid_value("structured_outputs",
                              "'structured_outputs' cannot be used with 'response_format'."));
  }
  return format;
}

ToolRequest read_tools(Fields& fields, const RequestLimits& limits) {
  ToolRequest request;
  const Json* tools = fields.array("tools", limits.tools_max);
  for (std::size_t i = 0; tools != nullptr && i < tools->size() && !fields.failed(); ++i) {
    Fields tool = fields.element("tools", i, (*tools)[i]);
    request.tools.push_back(read_tool(tool));
  }
  if (!fields.failed()) check_distinct(fields, request.tools);
  if (tools != nullptr && !tools->empty()) request.json = tools->dump();
  read_tool_choice(fields, request);
  request.parallel = fields.boolean("parallel_tool_calls").value_or(true);
  return request;
}

}  // namespace tandem::server
