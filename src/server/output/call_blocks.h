#pragma once
// Blocks of calls between their opening and closing markers.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/output/call_reader.h"
#include "server/output/json_call.h"

namespace tandem::server {

/// Behind <tool_call>: the JSON of Hermes and Qwen (several objects pass too), the tags of
/// Qwen3-Coder, or with `glm` those of GLM; then </tool_call>, which models may leave out. Formats:
/// NousResearch/Hermes-Function-Calling; the chat templates of Qwen2.5, Qwen3, Qwen3-Coder,
/// GLM-4.6.
class ToolCallBlock : public CallReader {
 public:
  /// `tools` outlives the reader. `in_function`: <function= was read instead of <tool_call>.
  ToolCallBlock(const std::vector<ToolSpec>& tools, bool glm, bool in_function);
  ReadStep read(std::string_view text, CallSink& sink) override;
  void finish(std::string_view rest, CallSink& sink) override;

 private:
  ReadStep read_head(std::string_view text);
  ReadStep read_tail(std::string_view text, CallSink& sink);

  const std::vector<ToolSpec>& tools_;
  bool glm_;
  bool tail_ = false;
  std::unique_ptr<CallReader> body_;
};

/// Llama 3.x: {"name": …, "parameters": {…}} as the whole answer or behind <|python_tag|>, several
/// with `;` between. Format: meta-llama/llama-models, models/llama3_1/prompt_format.md.
class LlamaBlock : public CallReader {
 public:
  /// `announced`: <|python_tag|> was read; otherwise only the request's own tools count. `tools`
  /// outlives the reader.
  LlamaBlock(const std::vector<ToolSpec>& tools, bool announced);
  ReadStep read(std::string_view text, CallSink& sink) override;
  void finish(std::string_view, CallSink&) override {}

 private:
  const std::vector<ToolSpec>* known_;
  bool between_ = false;
  EnvelopeReader object_;
};

/// Behind [TOOL_CALLS]: a JSON list of calls, or name[ARGS]{…}, or name[CALL_ID]id[ARGS]{…}.
/// Format: mistralai/mistral-common, tokenizers v3 to v13.
class MistralBlock : public CallReader {
 public:
  ReadStep read(std::string_view text, CallSink& sink) override;
  void finish(std::string_view, CallSink&) override {}

 private:
  enum class Place { kOpen, kItem, kObject, kNext, kName, kId, kOpenArguments, kArguments };

  ReadStep read_open(std::string_view text);
  ReadStep read_item(std::string_view text);
  ReadStep read_object(std::string_view text, CallSink& sink);
  ReadStep read_next(std::string_view text, CallSink& sink);
  ReadStep read_function(std::string_view text);
  ReadStep read_open_arguments(std::string_view text, CallSink& sink);

  Place place_ = Place::kOpen;
  bool list_ = false;
  std::string name_;
  EnvelopeReader object_{nullptr};
  ArgumentsReader arguments_;
};

/// Behind <｜tool▁calls▁begin｜>: calls between <｜tool▁call▁begin｜> and <｜tool▁call▁end｜>, each
/// `function<｜tool▁sep｜>name\n```json\n{…}\n```` (V3, R1) or `name<｜tool▁sep｜>{…}` (V3.1).
/// Formats: the chat templates of deepseek-ai/DeepSeek-V3-0324, DeepSeek-R1, DeepSeek-V3.1.
class DeepseekBlock : public CallReader {
 public:
  /// `in_call`: <｜tool▁call▁begin｜> was read already.
  explicit DeepseekBlock(bool in_call) : place_(in_call ? Place::kHead : Place::kCall) {}
  ReadStep read(std::string_view text, CallSink& sink) override;
  void finish(std::string_view, CallSink&) override {}

 private:
  enum class Place { kCall, kHead, kBehindSep, kName, kFence, kArguments, kTail };

  ReadStep read_call(std::string_view text, CallSink& sink);
  ReadStep read_until(std::string_view text, std::string_view end, Place next);
  ReadStep read_behind_sep(std::string_view text, CallSink& sink);
  ReadStep read_fence(std::string_view text, CallSink& sink);
  ReadStep read_tail(std::string_view text, CallSink& sink);
  ReadStep begin_arguments(std::size_t used, CallSink& sink);

  Place place_;
  int calls_ = 0;
  std::string name_;
  ArgumentsReader arguments_;
};

}  // namespace tandem::server
