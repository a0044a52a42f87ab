#include "server/serving/constraints.h"

#include <algorithm>
#include <utility>

#include "config/json.h"
#include "server/output/lark_rules.h"
#include "server/output/tool_grammar.h"

namespace tandem::server {
namespace {

using Kind = OutputGrammar::Kind;
using Choice = ToolRequest::Choice;

/// White space that may follow a reasoning block.
constexpr const char* kGap = R"(/[ \t\r\n]{0,4}/)";

/// `pattern` as a lexeme of the Lark syntax, which ends at a slash.
std::string lexeme(const std::string& pattern) {
  std::string out = "/";
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      out += pattern[i++];
    } else if (pattern[i] == '/') {
      out += '\\';
    } else if (pattern[i] == '\n') {
      out += "\\n";
      continue;
    }
    out += pattern[i];
  }
  return out + '/';
}

/// The rest of a reasoning block, and then the format.
Result<std::string> behind_reasoning(const OutputFormat& format, const OutputGrammar& wanted) {
  LarkRules rules(format);
  const auto with = [&](const std::string& expression) {
    const std::string block = rules.text_through(reasoning_markers(format.reasoning).close);
    return rules.text(block + " " + kGap + " " + expression);
  };
  switch (wanted.kind) {
    case Kind::kJsonObject:
    case Kind::kJsonSchema: {
      Json schema = {{"type", "object"}};
      if (wanted.kind == Kind::kJsonSchema) {
        auto parsed = config::parse_ordered_json(wanted.source, "json schema");
        if (!parsed) return parsed.error();
        schema = std::move(*parsed);
      }
      auto expression = rules.json(schema);
      if (!expression) return expression.error();
      return with(*expression);
    }
    case Kind::kRegex:
      return with(lexeme(wanted.source));
    case Kind::kLark:
    case Kind::kNone:
      break;
  }
  return invalid("a Lark grammar is not supported while the model reasons");
}

Result<text::Grammar> format_grammar(const text::GrammarTokenizer& tokenizer,
                                     const OutputGrammar& wanted) {
  switch (wanted.kind) {
    case Kind::kJsonSchema:
      return text::Grammar::json_schema(tokenizer, wanted.source);
    case Kind::kRegex:
      return text::Grammar::regex(tokenizer, wanted.source);
    case Kind::kLark:
      return text::Grammar::lark(tokenizer, wanted.source);
    case Kind::kJsonObject:
    case Kind::kNone:
      break;
  }
  return text::Grammar::json_object(tokenizer);
}

/// Whether calls are held to their tools: they must come, or a tool is strict.
bool holds_tools(const ToolRequest& tools) {
  if (tools.choice == Choice::kNone) return false;
  if (tools.choice != Choice::kAuto) return true;
  return std::ranges::any_of(tools.tools, [](const ToolSpec& tool) { return tool.strict; });
}

Result<text::Grammar> tools_grammar(const ModelText& text, const text::GrammarTokenizer& tokenizer,
                                    const ToolRequest& tools, bool in_reasoning) {
  ToolChoice choice;
  choice.required = tools.choice != Choice::kAuto;
  if (tools.choice == Choice::kNamed) choice.name = tools.name;
  choice.parallel = tools.parallel;
  choice.starts_in_reasoning = in_reasoning;
  auto source = tool_grammar(required_tool_format(text.format()), tools.tools, choice);
  if (!source) return source.error();
  return text::Grammar::lark(tokenizer, *source);
}

}  // namespace

NamedGrammar chat_grammar(const ModelText& text, const ChatRequest& request,
                          bool starts_in_reasoning) {
  NamedGrammar out;
  const bool formatted = request.grammar.kind != Kind::kNone;
  const bool tools = holds_tools(request.tools);
  if (!formatted && !tools) return out;
  out.param = formatted ? request.grammar.param : "tools";
  auto tokenizer = text.grammar_tokenizer();
  if (!tokenizer) {
    out.status = tokenizer.error();
    return out;
  }
  const auto compile = [&]() -> Result<text::Grammar> {
    if (!formatted) return tools_grammar(text, *tokenizer, request.tools, starts_in_reasoning);
    if (!starts_in_reasoning) return format_grammar(*tokenizer, request.grammar);
    auto source = behind_reasoning(text.format(), request.grammar);
    if (!source) return source.error();
    return text::Grammar::lark(*tokenizer, *source);
  };
  auto grammar = compile();
  if (grammar) {
    out.grammar = std::move(*grammar);
  } else {
    out.status = grammar.error();
  }
  return out;
}

}  // namespace tandem::server
