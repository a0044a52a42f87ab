#include "server/serving/constraints.h"

#include <algorithm>
#include <utility>

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

/// A format as a Lark expression.
Result<std::string> expression_of(const OutputGrammar& wanted) {
  switch (wanted.kind) {
    case Kind::kJsonObject:
      return text::lark_json(R"({"type":"object"})");
    case Kind::kJsonSchema:
      return text::lark_json(wanted.source);
    case Kind::kRegex:
      return lexeme(wanted.source);
    case Kind::kLark:
    case Kind::kNone:
      break;
  }
  return invalid("a Lark grammar is not supported while the model reasons or may call tools");
}

/// A reasoning block, which is there if the prompt opened it, and then the format.
Result<std::string> behind_reasoning(const OutputFormat& format, const OutputGrammar& wanted,
                                     bool opened) {
  const Result<std::string> expression = expression_of(wanted);
  if (!expression) return expression;
  LarkRules rules(format);
  const auto [open, close] = reasoning_markers(format.reasoning);
  const std::string block = rules.text_through(close) + " " + rules.add(kGap);
  const std::string rule = rules.add(*expression);
  if (opened) return rules.text(block + " " + rule);
  return rules.text("(" + rules.marker(open) + " " + block + ")? " + rule);
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
                                    const ToolRequest& tools, bool in_reasoning,
                                    std::optional<std::string> content) {
  ToolChoice choice;
  choice.content = std::move(content);
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
    if (!formatted) {
      return tools_grammar(text, *tokenizer, request.tools, starts_in_reasoning, std::nullopt);
    }
    // The format is that of the content: calls stay free.
    if (request.tools.choice == Choice::kAuto) {
      auto content = expression_of(request.grammar);
      if (!content) return content.error();
      return tools_grammar(text, *tokenizer, request.tools, starts_in_reasoning,
                           std::move(*content));
    }
    // A Lark grammar says itself what comes first.
    const bool reasons = text.format().reasoning != ReasoningSyntax::kNone &&
                         (starts_in_reasoning || request.grammar.kind != Kind::kLark);
    if (!reasons) return format_grammar(*tokenizer, request.grammar);
    auto source = behind_reasoning(text.format(), request.grammar, starts_in_reasoning);
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
