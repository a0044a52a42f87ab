#include "server/output/call_blocks.h"

#include <array>

#include "server/output/markers.h"
#include "server/output/tagged_call.h"

namespace tandem::server {

using State = ReadStep::State;

std::unique_ptr<CallReader> make_call_reader(ToolSyntax syntax, std::string_view opener,
                                             const std::vector<ToolSpec>& tools) {
  switch (syntax) {
    case ToolSyntax::kNone:
    case ToolSyntax::kHermes:
    case ToolSyntax::kQwenXml:
    case ToolSyntax::kGlm:
      return std::make_unique<ToolCallBlock>(tools, syntax == ToolSyntax::kGlm,
                                             opener == marker::kFunction);
    case ToolSyntax::kLlama:
      return std::make_unique<LlamaBlock>(tools, !opener.empty());
    case ToolSyntax::kMistral:
    case ToolSyntax::kMistralArgs:
      return std::make_unique<MistralBlock>();
    case ToolSyntax::kDeepseek:
    case ToolSyntax::kDeepseekV31:
      return std::make_unique<DeepseekBlock>(opener == marker::kDeepseekCall);
  }
  return nullptr;
}

ToolCallBlock::ToolCallBlock(const std::vector<ToolSpec>& tools, bool glm, bool in_function)
    : tools_(tools), glm_(glm) {
  if (in_function) body_ = std::make_unique<TaggedReader>(TaggedReader::Style::kQwen, tools);
}

ReadStep ToolCallBlock::read(std::string_view text, CallSink& sink) {
  if (tail_) return read_tail(text, sink);
  if (!body_) return read_head(text);
  ReadStep step = body_->read(text, sink);
  if (step.state == State::kDone) {
    tail_ = true;
    sink.settle();
    step.state = State::kAgain;
  }
  return step;
}

ReadStep ToolCallBlock::read_head(std::string_view text) {
  const std::size_t spaces = leading_spaces(text);
  const std::string_view rest = text.substr(spaces);
  if (rest.empty()) return {State::kMore, spaces};
  if (rest.front() == '{') {
    body_ = std::make_unique<EnvelopeReader>(nullptr);
    return {State::kAgain, spaces};
  }
  static constexpr std::array kFunctions = {marker::kFunction};
  const MarkerMatch match = match_marker(rest, kFunctions);
  if (match.partial) return {State::kMore, spaces};
  if (match.marker == 0) {
    body_ = std::make_unique<TaggedReader>(TaggedReader::Style::kQwen, tools_);
    return {State::kAgain, spaces + marker::kFunction.size()};
  }
  if (!glm_) return {State::kFailed, spaces};
  body_ = std::make_unique<TaggedReader>(TaggedReader::Style::kGlm, tools_);
  return {State::kAgain, spaces};
}

ReadStep ToolCallBlock::read_tail(std::string_view text, CallSink& sink) {
  static constexpr std::array kEnds = {marker::kToolCallEnd, std::string_view("{")};
  const std::size_t spaces = leading_spaces(text);
  const MarkerMatch match = match_marker(text.substr(spaces), kEnds);
  if (match.marker == 0) {
    sink.settle();
    return {State::kDone, spaces + marker::kToolCallEnd.size()};
  }
  if (match.marker == 1) {
    tail_ = false;
    body_ = std::make_unique<EnvelopeReader>(nullptr);
    return {State::kAgain, spaces};
  }
  return {match.partial ? State::kMore : State::kDone, 0};
}

void ToolCallBlock::finish(std::string_view rest, CallSink& sink) {
  if (body_ && !tail_) body_->finish(rest, sink);
}

LlamaBlock::LlamaBlock(const std::vector<ToolSpec>& tools, bool announced)
    : known_(announced ? nullptr : &tools), object_(known_) {}

ReadStep LlamaBlock::read(std::string_view text, CallSink& sink) {
  if (!between_) {
    const std::size_t spaces = object_.begun() ? 0 : leading_spaces(text);
    ReadStep step = object_.read(text.substr(spaces), sink);
    step.used += spaces;
    if (step.state == State::kDone) {
      between_ = true;
      step.state = State::kAgain;
    }
    return step;
  }
  const std::size_t next = text.find_first_not_of("; \t\r\n");
  if (next == std::string_view::npos) return {State::kMore, 0};
  if (text[next] != '{') return {State::kDone, 0};
  between_ = false;
  object_ = EnvelopeReader(known_);
  return {State::kAgain, next};
}

}  // namespace tandem::server
