#pragma once
// The grammar that holds a model to its tools: for tool_choice "required" or a named function, and
// for strict functions.

#include <optional>
#include <string>
#include <vector>

#include "server/output/output_format.h"
#include "server/output/output_parser.h"
#include "tandem/error.h"

namespace tandem::server {

struct ToolChoice {
  /// False: the output may also be text without a call; calls are held to the tools all the same.
  bool required = true;
  /// Only this function; nullopt: any of the tools.
  std::optional<std::string> name{};
  /// Whether several calls may follow each other.
  bool parallel = true;
  /// The output starts inside a reasoning block, which ends before the first call.
  bool starts_in_reasoning = false;
  /// What an output without a call is, as a Lark expression; nullopt: any text, which may also come
  /// before the calls. Only without `required`. `%json {…}` and /patterns/ may be in it.
  std::optional<std::string> content{};
};

/// A grammar in llguidance's Lark syntax, for text::Grammar::lark. Every output it allows is (after
/// a reasoning block, where the format has one) one or more calls that OutputParser reads, each to
/// one of the tools with arguments that fit its schema; without `required` any text may come before
/// them or instead. A function without parameters takes none; one that is not strict takes any
/// object, unless the call is required. GLM and Qwen3-Coder write strings without quotes: there
/// pattern, format and lengths of strings are not held, and a schema must be an object of plain
/// properties. kInvalidArgument: a schema breaks these rules; the message names the function.
Result<std::string> tool_grammar(const OutputFormat& format, const std::vector<ToolSpec>& tools,
                                 const ToolChoice& choice);

/// The format under which calls are forced and parsed: the model's own, or Hermes's when it has
/// none.
OutputFormat required_tool_format(OutputFormat format);

}  // namespace tandem::server
