#pragma once
// What a request demands of the output's form: response_format, structured_outputs, tools.

#include <optional>
#include <string>
#include <vector>

#include "server/api/fields.h"
#include "server/api/request_rules.h"
#include "server/output/output_parser.h"

namespace tandem::server {

/// The language an output is held to; see text::Grammar.
struct OutputGrammar {
  enum class Kind { kNone, kJsonObject, kJsonSchema, kRegex, kLark };
  Kind kind = Kind::kNone;
  std::string source;  // schema, pattern or grammar
  std::string param;   // the field it came from, for errors
};

/// response_format (OpenAI) or structured_outputs (vLLM's json, regex, choice, grammar).
OutputGrammar read_output_grammar(Fields& fields);

struct ToolRequest {
  enum class Choice { kNone, kAuto, kRequired, kNamed };
  std::vector<ToolSpec> tools;
  std::string json;  // as given, for the chat template; "" without tools
  Choice choice = Choice::kNone;
  std::string name;      // with kNamed
  bool parallel = true;  // several calls in one answer
};

/// tools, tool_choice, parallel_tool_calls.
ToolRequest read_tools(Fields& fields, const RequestLimits& limits);

}  // namespace tandem::server
