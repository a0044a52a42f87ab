#include "server/output/output_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "config/json.h"
#include "config/python_json.h"
#include "server/output/markers.h"

namespace tandem::server {
namespace {

using nlohmann::json;

constexpr const char* kConfigFiles[] = {"tokenizer_config.json", "chat_template.json"};
constexpr const char* kTemplateFiles[] = {"chat_template.jinja",
                                          "additional_chat_templates/tool_use.jinja"};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// By what the templates write, from the more to the less special; mlx-lm's tokenizer_utils.py and
/// vLLM's examples/tool_chat_template_*.jinja tell them apart in the same way.
ToolSyntax find_tools(std::string_view templates, bool python_tag) {
  using namespace marker;
  if (contains(templates, kArgKey)) return ToolSyntax::kGlm;
  if (contains(templates, kFunction) && contains(templates, kParameter)) {
    return ToolSyntax::kQwenXml;
  }
  if (contains(templates, kDeepseekCall)) {
    return contains(templates, "```json") ? ToolSyntax::kDeepseek : ToolSyntax::kDeepseekV31;
  }
  if (contains(templates, kMistralCalls)) {
    return contains(templates, kMistralArgs) ? ToolSyntax::kMistralArgs : ToolSyntax::kMistral;
  }
  if (contains(templates, kToolCall)) return ToolSyntax::kHermes;
  if (contains(templates, "\"parameters\": ") && (python_tag || contains(templates, kPythonTag))) {
    return ToolSyntax::kLlama;
  }
  return ToolSyntax::kNone;
}

ReasoningSyntax find_reasoning(std::string_view templates,
                               const std::function<MarkerToken(std::string_view)>& token) {
  for (const ReasoningSyntax syntax : {ReasoningSyntax::kThink, ReasoningSyntax::kMistralThink}) {
    const ReasoningMarkers markers = reasoning_markers(syntax);
    const bool tokens =
        token(markers.open) != MarkerToken::kNone && token(markers.close) != MarkerToken::kNone;
    // DeepSeek-R1's template has only the closing one.
    if (tokens || contains(templates, markers.close)) return syntax;
  }
  return ReasoningSyntax::kNone;
}

/// The templates inside one of the JSON files: a string, or a list of {"name", "template"}.
Status add_configured(const std::filesystem::path& folder, const char* file,
                      std::string& templates) {
  const Result<std::string> text = config::read_text_file(folder / file);
  if (!text && text.error().code == ErrorCode::kNotFound) return {};
  if (!text) return text.error();
  const Result<json> parsed = config::parse_python_json(*text, file);
  if (!parsed) return parsed.error();
  const json field = parsed->is_object() ? parsed->value("chat_template", json()) : json();
  if (field.is_string()) templates += field.get<std::string>();
  if (!field.is_array()) return {};
  for (const json& item : field) {
    if (item.is_object() && item.contains("template") && item["template"].is_string()) {
      templates += item["template"].get<std::string>();
    }
  }
  return {};
}

}  // namespace

ReasoningMarkers reasoning_markers(ReasoningSyntax syntax) {
  switch (syntax) {
    case ReasoningSyntax::kNone:
      return {};
    case ReasoningSyntax::kThink:
      return {"<think>", "</think>"};
    case ReasoningSyntax::kMistralThink:
      return {"[THINK]", "[/THINK]"};
  }
  return {};
}

OutputFormat find_output_format(std::string_view templates,
                                const std::function<MarkerToken(std::string_view)>& token) {
  OutputFormat format;
  format.tools = find_tools(templates, token(marker::kPythonTag) != MarkerToken::kNone);
  format.reasoning = find_reasoning(templates, token);
  std::vector<std::string_view> markers = tool_markers(format.tools);
  const auto [open, close] = reasoning_markers(format.reasoning);
  markers.insert(markers.end(), {open, close});
  for (const std::string_view candidate : markers) {
    if (!candidate.empty() && token(candidate) == MarkerToken::kSpecial) {
      format.special_markers.emplace_back(candidate);
    }
  }
  return format;
}

Result<OutputFormat> load_output_format(const std::filesystem::path& folder,
                                        const text::Tokenizer& tokenizer) {
  std::string templates;
  for (const char* file : kTemplateFiles) {
    const Result<std::string> text = config::read_text_file(folder / file);
    if (!text && text.error().code != ErrorCode::kNotFound) return text.error();
    if (text) templates += *text;
  }
  for (const char* file : kConfigFiles) {
    if (const Status added = add_configured(folder, file, templates); !added) return added.error();
  }
  const auto token = [&](std::string_view marker) {
    const std::optional<std::int32_t> id = tokenizer.token_to_id(marker);
    if (!id) return MarkerToken::kNone;
    return tokenizer.is_text(*id, true) ? MarkerToken::kText : MarkerToken::kSpecial;
  };
  OutputFormat format = find_output_format(templates, token);
  for (const std::string& special : format.special_markers) {
    format.special_ids.push_back(*tokenizer.token_to_id(special));
  }
  return format;
}

bool keeps_token(const OutputFormat& format, const text::Tokenizer& tokenizer, std::int32_t id) {
  return tokenizer.is_text(id, true) ||
         std::ranges::find(format.special_ids, id) != format.special_ids.end();
}

bool prompt_opens_reasoning(ReasoningSyntax syntax, std::string_view prompt) {
  const std::string_view open = reasoning_markers(syntax).open;
  prompt.remove_suffix(trailing_spaces(prompt));
  return !open.empty() && prompt.ends_with(open);
}

}  // namespace tandem::server
