#pragma once
// How a model writes reasoning and tool calls, found from its chat template and special tokens.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"
#include "text/tokenizer.h"

namespace tandem::server {

/// Each is what the named models' chat templates write for an assistant's tool calls.
enum class ToolSyntax {
  kNone,
  kHermes,   // <tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>: Hermes, Qwen 2.5 and 3
  kQwenXml,  // <tool_call>\n<function=f>\n<parameter=x>\nv\n</parameter>\n</function>: Qwen3-Coder
  kLlama,    // {"name": …, "parameters": {…}}, with or without <|python_tag|>: Llama 3.x
  kMistral,  // [TOOL_CALLS] [{"name": …, "arguments": {…}}]: Mistral 7B v0.3 to Small 3
  kMistralArgs,  // [TOOL_CALLS]f[ARGS]{…}: Mistral tokenizers from v11
  kDeepseek,     // <｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{…}\n```: DeepSeek V3, R1
  kDeepseekV31,  // <｜tool▁call▁begin｜>f<｜tool▁sep｜>{…}<｜tool▁call▁end｜>: DeepSeek V3.1
  kGlm,          // <tool_call>f\n<arg_key>k</arg_key>\n<arg_value>v</arg_value>: GLM 4.5 and later
};

enum class ReasoningSyntax {
  kNone,
  kThink,         // <think> … </think>
  kMistralThink,  // [THINK] … [/THINK]
};

struct OutputFormat {
  ToolSyntax tools = ToolSyntax::kNone;
  ReasoningSyntax reasoning = ReasoningSyntax::kNone;
  /// Markers of this format that the tokenizer holds as special tokens. Plain decoding skips them,
  /// so the parser's input must keep them: see keeps_token().
  std::vector<std::string> special_markers{};
  std::vector<std::int32_t> special_ids{};  // theirs, in the same order
};

/// What the tokenizer says of a marker: whether it is one token, and a special one.
enum class MarkerToken { kNone, kText, kSpecial };

/// `templates`: the text of the model's chat templates, "" when it has none.
OutputFormat find_output_format(std::string_view templates,
                                const std::function<MarkerToken(std::string_view)>& token);

/// The same from a model folder. Fails only when a file of it cannot be read.
Result<OutputFormat> load_output_format(const std::filesystem::path& folder,
                                        const text::Tokenizer& tokenizer);

/// Whether an id belongs into the parser's input: all text and the format's own special tokens, but
/// no other special token. Feed such ids to a text::StreamDecoder that skips no special tokens.
bool keeps_token(const OutputFormat& format, const text::Tokenizer& tokenizer, std::int32_t id);

/// Whether the rendered prompt ends inside a reasoning block, so that the output starts in it.
bool prompt_opens_reasoning(ReasoningSyntax syntax, std::string_view prompt);

/// The markers of a reasoning block; empty for kNone.
struct ReasoningMarkers {
  std::string_view open;
  std::string_view close;
};
ReasoningMarkers reasoning_markers(ReasoningSyntax syntax);

}  // namespace tandem::server
