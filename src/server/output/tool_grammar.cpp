#include "server/output/tool_grammar.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "server/output/lark_rules.h"
#include "server/output/markers.h"

namespace tandem::server {
namespace {

using nlohmann::ordered_json;

/// White space that may follow a reasoning block.
constexpr const char* kGap = "/[ \\t\\r\\n]{0,4}/";
/// Text without a call.
constexpr const char* kText = "/(.|\\n)*/";

class GrammarWriter {
 public:
  GrammarWriter(const OutputFormat& format, const ToolChoice& choice)
      : format_(format), choice_(choice), rules_(format) {}

  /// Adds one tool's call.
  Status add(const ToolSpec& tool) {
    Result<std::string> call = tagged() ? tagged_call(tool) : json_call(tool);
    if (!call) return call.error();
    calls_ += fmt::format("{}{}", calls_.empty() ? "" : " | ", rules_.add(*call));
    return {};
  }

  std::string finish() {
    const std::string call = rules_.add(calls_);
    const std::string block = rules_.add(calls_of(call));
    const std::string answer =
        choice_.required ? fmt::format("{} {}", opener(), block) : optional(block);
    return rules_.text(fmt::format("{} {}", reasoning(), answer));
  }

 private:
  using S = ToolSyntax;

  bool tagged() const { return format_.tools == S::kGlm || format_.tools == S::kQwenXml; }
  std::string mark(std::string_view marker) const { return rules_.marker(marker); }

  /// The arguments as one JSON object.
  Result<std::string> object(const ToolSpec& tool) {
    if (!choice_.required && !tool.strict) return rules_.json({{"type", "object"}});
    const Result<std::optional<ordered_json>> schema = object_schema(tool);
    if (!schema) return schema.error();
    if (!*schema) return LarkRules::literal("{}");
    Result<std::string> expression = rules_.json(**schema);
    if (expression) return expression;
    return Error{expression.error().code, fmt::format("tools: parameters of '{}': {}", tool.name,
                                                      expression.error().message)};
  }

  Result<std::string> json_call(const ToolSpec& tool) {
    const Result<std::string> arguments = object(tool);
    if (!arguments) return arguments;
    const auto envelope = [&](const char* key) {
      const std::string head =
          fmt::format(R"({{"name": {}, "{}": )", ordered_json(tool.name).dump(), key);
      return fmt::format("{} {} \"}}\"", LarkRules::literal(head), *arguments);
    };
    const std::string name = LarkRules::literal(tool.name);
    using namespace marker;
    switch (format_.tools) {
      case S::kLlama:
        return envelope("parameters");
      case S::kMistralArgs:
        return fmt::format("{} {} {}", name, mark(kMistralArgs), *arguments);
      case S::kDeepseek:
        return fmt::format("{} \"function\" {} {} {} \"\\n```\" {}", mark(kDeepseekCall),
                           mark(kDeepseekSep), LarkRules::literal(tool.name + "\n```json\n"),
                           *arguments, mark(kDeepseekCallEnd));
      case S::kDeepseekV31:
        return fmt::format("{} {} {} {} {}", mark(kDeepseekCall), name, mark(kDeepseekSep),
                           *arguments, mark(kDeepseekCallEnd));
      default:
        return envelope("arguments");
    }
  }

  Result<std::string> tagged_call(const ToolSpec& tool) {
    const Result<std::string> arguments = tagged_arguments(rules_, format_.tools, tool);
    if (!arguments) return arguments;
    if (format_.tools == S::kGlm) {
      return fmt::format("{} {}", LarkRules::literal(tool.name + "\n"), *arguments);
    }
    return fmt::format("{} {} \"</function>\\n\"",
                       LarkRules::literal(fmt::format("\n<function={}>\n", tool.name)), *arguments);
  }

  /// What begins a block of calls; "" for Llama, which has no such marker.
  std::string opener() const {
    return format_.tools == S::kLlama ? "" : mark(tool_openers(format_.tools).front());
  }

  /// All calls behind the first opener.
  std::string calls_of(const std::string& call) const {
    const auto repeat = [&](const std::string& separator) {
      return choice_.parallel ? fmt::format("{0} ({1} {0})*", call, separator) : call;
    };
    using namespace marker;
    // From one call's end to the next one's beginning.
    const std::string next = fmt::format("{} \"\\n\" {}", mark(kToolCallEnd), opener());
    switch (format_.tools) {
      case S::kLlama:
        return repeat("\"; \"");
      case S::kMistral:
        return fmt::format("\" [\" {} \"]\"", repeat("\", \""));
      case S::kMistralArgs:
        return repeat(mark(kMistralCalls));
      case S::kDeepseek:
        return fmt::format("{} {}", repeat("\"\\n\""), mark(kDeepseekCallsEnd));
      case S::kDeepseekV31:
        return fmt::format("{} {}", repeat(""), mark(kDeepseekCallsEnd));
      case S::kGlm:
      case S::kQwenXml:
        return fmt::format("{} {}", repeat(next), mark(kToolCallEnd));
      default:
        return fmt::format("\"\\n\" {} \"\\n\" {}", repeat(fmt::format("\"\\n\" {} \"\\n\"", next)),
                           mark(kToolCallEnd));
    }
  }

  /// Text, and perhaps calls behind it.
  std::string optional(const std::string& block) {
    if (choice_.content) {
      return fmt::format("({} {} | {})", opener(), block, rules_.add(*choice_.content));
    }
    // Llama calls in the whole answer or not at all.
    if (format_.tools == S::kLlama) {
      return fmt::format("({} | {})", block, rules_.add("/([^{ \\t\\r\\n](.|\\n)*)?/"));
    }
    const std::string text = rules_.add(kText);
    const std::string head = rules_.text_through(tool_openers(format_.tools).front());
    return fmt::format("({} {} | {})", head, block, text);
  }

  std::string reasoning() {
    const auto [open, close] = reasoning_markers(format_.reasoning);
    if (open.empty()) return "";
    const std::string block = fmt::format("{} {}", rules_.text_through(close), rules_.add(kGap));
    return choice_.starts_in_reasoning ? block : fmt::format("({} {})?", mark(open), block);
  }

  const OutputFormat& format_;
  const ToolChoice& choice_;
  LarkRules rules_;
  std::string calls_;  // the tools' calls as alternatives
};

}  // namespace

Result<std::string> tool_grammar(const OutputFormat& format, const std::vector<ToolSpec>& tools,
                                 const ToolChoice& choice) {
  const OutputFormat used = required_tool_format(format);
  GrammarWriter writer(used, choice);
  bool any = false;
  for (const ToolSpec& tool : tools) {
    if (choice.name && tool.name != *choice.name) continue;
    any = true;
    if (const Status added = writer.add(tool); !added) return added.error();
  }
  if (!any) return invalid("tool_choice: names none of the tools");
  return writer.finish();
}

OutputFormat required_tool_format(OutputFormat format) {
  if (format.tools == ToolSyntax::kNone) format.tools = ToolSyntax::kHermes;
  return format;
}

}  // namespace tandem::server
