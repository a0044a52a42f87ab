#pragma once
// Finding markers in text that arrives in pieces.

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "server/output/output_format.h"

namespace tandem::server {

/// The white space that formats put around their markers.
inline constexpr std::string_view kSpaces = " \t\r\n";

/// How many bytes at the front, or at the end, are white space.
std::size_t leading_spaces(std::string_view text);
std::size_t trailing_spaces(std::string_view text);

/// Where the first marker stands.
struct MarkerPlace {
  /// Bytes before the marker; without one, bytes that no marker can begin in.
  std::size_t before = 0;
  /// Index into the markers, or -1: none yet.
  int marker = -1;
};

/// The earliest of `markers` in `text`, the longest of those that begin there.
MarkerPlace find_marker(std::string_view text, std::span<const std::string_view> markers);

/// Whether `text` begins with one of the markers.
struct MarkerMatch {
  int marker = -1;       // the first that `text` begins with, or -1
  bool partial = false;  // with -1: `text` is the beginning of one, more of it decides
};
MarkerMatch match_marker(std::string_view text, std::span<const std::string_view> markers);

/// Markers of tool calls that tokenizers may hold as special tokens.
std::vector<std::string_view> tool_markers(ToolSyntax syntax);
/// Markers that begin tool calls in the middle of content.
std::vector<std::string_view> tool_openers(ToolSyntax syntax);
/// What closes a block of calls; "": only the end of the output does.
std::string_view block_end(ToolSyntax syntax);

namespace marker {
inline constexpr std::string_view kToolCall = "<tool_call>";
inline constexpr std::string_view kToolCallEnd = "</tool_call>";
inline constexpr std::string_view kFunction = "<function=";
inline constexpr std::string_view kFunctionEnd = "</function>";
inline constexpr std::string_view kParameter = "<parameter=";
inline constexpr std::string_view kParameterEnd = "</parameter>";
inline constexpr std::string_view kArgKey = "<arg_key>";
inline constexpr std::string_view kArgKeyEnd = "</arg_key>";
inline constexpr std::string_view kArgValue = "<arg_value>";
inline constexpr std::string_view kArgValueEnd = "</arg_value>";
inline constexpr std::string_view kPythonTag = "<|python_tag|>";
inline constexpr std::string_view kMistralCalls = "[TOOL_CALLS]";
inline constexpr std::string_view kMistralArgs = "[ARGS]";
inline constexpr std::string_view kMistralCallId = "[CALL_ID]";
inline constexpr std::string_view kDeepseekCalls = "<｜tool▁calls▁begin｜>";
inline constexpr std::string_view kDeepseekCallsEnd = "<｜tool▁calls▁end｜>";
inline constexpr std::string_view kDeepseekCall = "<｜tool▁call▁begin｜>";
inline constexpr std::string_view kDeepseekCallEnd = "<｜tool▁call▁end｜>";
inline constexpr std::string_view kDeepseekSep = "<｜tool▁sep｜>";
}  // namespace marker

}  // namespace tandem::server
