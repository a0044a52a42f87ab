#include "server/output/markers.h"

#include <algorithm>

namespace tandem::server {

std::size_t leading_spaces(std::string_view text) {
  return std::min(text.find_first_not_of(kSpaces), text.size());
}

std::size_t trailing_spaces(std::string_view text) {
  return text.size() - (text.find_last_not_of(kSpaces) + 1);
}

MarkerPlace find_marker(std::string_view text, std::span<const std::string_view> markers) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::string_view rest = text.substr(at);
    MarkerPlace place{.before = at};
    bool possible = false;
    for (std::size_t i = 0; i < markers.size(); ++i) {
      const std::string_view candidate = markers[i];
      const bool longer = place.marker < 0 ||
                          candidate.size() > markers[static_cast<std::size_t>(place.marker)].size();
      if (rest.starts_with(candidate)) {
        if (longer) place.marker = static_cast<int>(i);
      } else if (candidate.starts_with(rest)) {
        possible = true;
      }
    }
    if (place.marker >= 0 || possible) return place;
  }
  return {.before = text.size()};
}

MarkerMatch match_marker(std::string_view text, std::span<const std::string_view> markers) {
  bool partial = false;
  for (std::size_t i = 0; i < markers.size(); ++i) {
    if (text.starts_with(markers[i])) return {.marker = static_cast<int>(i)};
    partial = partial || markers[i].starts_with(text);
  }
  return {.partial = partial};
}

std::vector<std::string_view> tool_markers(ToolSyntax syntax) {
  using namespace marker;
  switch (syntax) {
    case ToolSyntax::kNone:
      return {};
    case ToolSyntax::kHermes:
    case ToolSyntax::kQwenXml:
      return {kToolCall, kToolCallEnd};
    case ToolSyntax::kLlama:
      return {kPythonTag};
    case ToolSyntax::kMistral:
      return {kMistralCalls};
    case ToolSyntax::kMistralArgs:
      return {kMistralCalls, kMistralArgs, kMistralCallId};
    case ToolSyntax::kDeepseek:
    case ToolSyntax::kDeepseekV31:
      return {kDeepseekCalls, kDeepseekCallsEnd, kDeepseekCall, kDeepseekCallEnd, kDeepseekSep};
    case ToolSyntax::kGlm:
      return {kToolCall, kToolCallEnd, kArgKey, kArgKeyEnd, kArgValue, kArgValueEnd};
  }
  return {};
}

std::vector<std::string_view> tool_openers(ToolSyntax syntax) {
  using namespace marker;
  switch (syntax) {
    case ToolSyntax::kNone:
      return {};
    case ToolSyntax::kHermes:
    case ToolSyntax::kGlm:
      return {kToolCall};
    // Qwen3-Coder now and then leaves out <tool_call>.
    case ToolSyntax::kQwenXml:
      return {kToolCall, kFunction};
    case ToolSyntax::kLlama:
      return {kPythonTag};
    case ToolSyntax::kMistral:
    case ToolSyntax::kMistralArgs:
      return {kMistralCalls};
    case ToolSyntax::kDeepseek:
    case ToolSyntax::kDeepseekV31:
      return {kDeepseekCalls, kDeepseekCall};
  }
  return {};
}

std::string_view block_end(ToolSyntax syntax) {
  switch (syntax) {
    case ToolSyntax::kNone:
    case ToolSyntax::kHermes:
    case ToolSyntax::kQwenXml:
    case ToolSyntax::kGlm:
      return marker::kToolCallEnd;
    case ToolSyntax::kDeepseek:
    case ToolSyntax::kDeepseekV31:
      return marker::kDeepseekCallsEnd;
    case ToolSyntax::kLlama:
    case ToolSyntax::kMistral:
    case ToolSyntax::kMistralArgs:
      return {};
  }
  return {};
}

}  // namespace tandem::server
