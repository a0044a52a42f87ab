#include "server/output/output_parser.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "base/check.h"
#include "server/output/call_reader.h"
#include "server/output/call_sink.h"
#include "server/output/markers.h"

namespace tandem::server {

struct OutputParser::Impl {
  Impl(const OutputFormat& output_format, OutputOptions output_options);

  /// Decides as much of the text as can be; all of it when it is the last.
  void run(bool last);

  ToolSyntax syntax;
  ReasoningMarkers reasoning;
  OutputOptions options;
  std::vector<std::string_view> openers;  // none: tool calls are not looked for
  CallSink sink;

  enum class Phase { kStart, kOpenReasoning, kReasoning, kContent, kCall, kBrokenCall };
  Phase phase = Phase::kStart;
  bool wrote_content = false;
  bool announced = false;     // a marker began the block of calls
  bool broken = false;        // a call was given out that is not whole
  bool behind_block = false;  // white space that comes now belongs to the format
  std::string text;           // what arrived and is not decided
  std::string raw;            // what the reader read and did not settle
  std::unique_ptr<CallReader> reader;
  OutputDelta delta;

 private:
  /// What a step used of the text; nullopt: it needs more.
  using Used = std::optional<std::size_t>;

  Used step(std::string_view rest, bool last);
  Used start(std::string_view rest, bool last);
  Used open_reasoning(std::string_view rest, bool last);
  Used reason(std::string_view rest, bool last);
  Used content(std::string_view rest, bool last);
  Used last_content(std::string_view rest);
  Used call(std::string_view rest, bool last);
  Used cut_off(std::string_view rest);
  Used skip_broken(std::string_view rest, bool last);
  void write(std::string_view content);
  void begin_call(std::string_view head, std::string_view opener);
  void fail_call();
};

OutputParser::Impl::Impl(const OutputFormat& output_format, OutputOptions output_options)
    : syntax(output_format.tools),
      reasoning(reasoning_markers(output_format.reasoning)),
      options(std::move(output_options)),
      sink(options.stream_arguments,
           syntax == ToolSyntax::kMistral || syntax == ToolSyntax::kMistralArgs
               ? CallSink::IdStyle::kMistral
               : CallSink::IdStyle::kOpenAi,
           options.random) {
  check(options.tools.empty() || options.random, "tool calls need random ids");
  if (!options.tools.empty()) openers = tool_openers(syntax);
  if (reasoning.open.empty() || !options.split_reasoning) {
    phase = Phase::kContent;
  } else if (options.starts_in_reasoning) {
    phase = Phase::kOpenReasoning;
  }
}

void OutputParser::Impl::run(bool last) {
  std::size_t at = 0;
  while (at < text.size() || last) {
    const Used used = step(std::string_view(text).substr(at), last);
    if (!used) break;
    at += *used;
    if (at == text.size() && phase != Phase::kCall) break;
  }
  text.erase(0, at);
}

OutputParser::Impl::Used OutputParser::Impl::step(std::string_view rest, bool last) {
  switch (phase) {
    case Phase::kStart:
      return start(rest, last);
    case Phase::kOpenReasoning:
      return open_reasoning(rest, last);
    case Phase::kReasoning:
      return reason(rest, last);
    case Phase::kContent:
      return content(rest, last);
    case Phase::kCall:
      return call(rest, last);
    case Phase::kBrokenCall:
      return skip_broken(rest, last);
  }
  return std::nullopt;
}

/// A reasoning block comes first or not at all.
OutputParser::Impl::Used OutputParser::Impl::start(std::string_view rest, bool last) {
  const std::size_t spaces = leading_spaces(rest);
  const MarkerMatch match = match_marker(rest.substr(spaces), std::span(&reasoning.open, 1));
  if (match.marker == 0) {
    phase = Phase::kOpenReasoning;
    return spaces + reasoning.open.size();
  }
  if (match.partial && !last) return std::nullopt;
  phase = Phase::kContent;
  return 0;
}

/// Models may write the marker although the prompt ended with it.
OutputParser::Impl::Used OutputParser::Impl::open_reasoning(std::string_view rest, bool last) {
  const std::size_t spaces = leading_spaces(rest);
  const MarkerMatch match = match_marker(rest.substr(spaces), std::span(&reasoning.open, 1));
  if (match.marker == 0) return spaces + reasoning.open.size();
  if (match.partial && !last) return std::nullopt;
  phase = Phase::kReasoning;
  return spaces;
}

OutputParser::Impl::Used OutputParser::Impl::reason(std::string_view rest, bool last) {
  const MarkerPlace place = find_marker(rest, std::span(&reasoning.close, 1));
  std::string_view before = rest.substr(0, place.before);
  if (place.marker < 0 && last) {
    delta.reasoning += rest;
    return rest.size();
  }
  before.remove_suffix(trailing_spaces(before));
  delta.reasoning += before;
  if (place.marker < 0) return before.empty() ? Used() : before.size();
  phase = Phase::kContent;
  behind_block = true;
  return place.before + reasoning.close.size();
}

OutputParser::Impl::Used OutputParser::Impl::content(std::string_view rest, bool last) {
  // A bare call is Llama's whole answer or none.
  const std::size_t spaces = leading_spaces(rest);
  if (syntax == ToolSyntax::kLlama && !openers.empty() && !wrote_content && spaces < rest.size() &&
      rest[spaces] == '{') {
    begin_call(rest.substr(0, spaces), "");
    return spaces;
  }
  using Markers = std::span<const std::string_view>;
  const bool full = sink.count() == kMaxToolCalls;
  const MarkerPlace place = find_marker(rest, full ? Markers() : Markers(openers));
  if (place.marker < 0 && last) return last_content(rest);
  std::string_view before = rest.substr(0, place.before);
  // White space before a call, or behind a block, waits for what follows.
  if (!openers.empty() || (behind_block && spaces == before.size())) {
    before.remove_suffix(trailing_spaces(before));
  }
  write(before);
  if (place.marker < 0) return before.empty() ? Used() : before.size();
  const std::string_view opener = openers[static_cast<std::size_t>(place.marker)];
  begin_call(rest.substr(before.size(), place.before - before.size()), opener);
  return place.before + opener.size();
}

OutputParser::Impl::Used OutputParser::Impl::last_content(std::string_view rest) {
  if (!behind_block || leading_spaces(rest) < rest.size()) write(rest);
  return rest.empty() ? Used() : rest.size();
}

void OutputParser::Impl::write(std::string_view content) {
  if (behind_block && !wrote_content) content.remove_prefix(leading_spaces(content));
  if (content.empty()) return;
  delta.content += content;
  wrote_content = true;
  behind_block = false;
}

void OutputParser::Impl::begin_call(std::string_view head, std::string_view opener) {
  raw = std::string(head) + std::string(opener);
  announced = !opener.empty();
  reader = make_call_reader(syntax, opener, options.tools);
  phase = Phase::kCall;
}

OutputParser::Impl::Used OutputParser::Impl::call(std::string_view rest, bool last) {
  const std::string_view window =
      rest.substr(0, kMaxHeldCallBytes - std::min(kMaxHeldCallBytes, raw.size()));
  const ReadStep step = reader->read(window, sink);
  raw += window.substr(0, step.used);
  if (sink.take_settled()) raw.clear();
  switch (step.state) {
    case ReadStep::State::kAgain:
      break;
    case ReadStep::State::kMore:
      if (raw.size() + window.size() - step.used >= kMaxHeldCallBytes) {
        fail_call();
      } else if (last) {
        return cut_off(rest.substr(step.used));
      } else if (step.used == 0) {
        return std::nullopt;
      }
      break;
    case ReadStep::State::kDone:
      raw.clear();
      behind_block = true;
      phase = Phase::kContent;
      break;
    case ReadStep::State::kFailed:
      fail_call();
      break;
  }
  return step.used;
}

void OutputParser::Impl::fail_call() {
  if (sink.open()) {
    sink.abandon();
    raw.clear();
    broken = true;
    phase = Phase::kBrokenCall;
    return;
  }
  write(std::exchange(raw, ""));
  phase = Phase::kContent;
}

/// What follows a call that broke, up to the end of its block, is the format's and no content.
OutputParser::Impl::Used OutputParser::Impl::skip_broken(std::string_view rest, bool last) {
  const std::string_view end = block_end(syntax);
  const auto ends = std::span(&end, end.empty() ? 0 : 1);
  const MarkerPlace place = find_marker(rest, ends);
  if (place.marker < 0) {
    const std::size_t used = last ? rest.size() : place.before;
    return used == 0 ? Used() : used;
  }
  phase = Phase::kContent;
  behind_block = true;
  return place.before + end.size();
}

/// The output ended inside a block of calls. What there is of a call that has its name is given
/// out; before the name there is none, only the format's markup, unless nothing announced a call.
OutputParser::Impl::Used OutputParser::Impl::cut_off(std::string_view rest) {
  if (sink.open()) {
    reader->finish(rest, sink);
    broken = broken || sink.open();
    sink.abandon();
  } else if (!announced) {
    raw += rest;
    behind_block = behind_block || sink.count() > 0;
    last_content(raw);
  }
  phase = Phase::kContent;
  text.clear();
  return std::nullopt;
}

OutputParser::OutputParser(const OutputFormat& format, OutputOptions options)
    : impl_(std::make_unique<Impl>(format, std::move(options))) {}
OutputParser::~OutputParser() = default;
OutputParser::OutputParser(OutputParser&&) noexcept = default;
OutputParser& OutputParser::operator=(OutputParser&&) noexcept = default;

OutputDelta OutputParser::push(std::string_view text) {
  impl_->text += text;
  impl_->run(false);
  impl_->delta.tools = impl_->sink.take();
  return std::exchange(impl_->delta, {});
}

OutputDelta OutputParser::finish() {
  impl_->run(true);
  impl_->delta.tools = impl_->sink.take();
  return std::exchange(impl_->delta, {});
}

int OutputParser::tool_calls() const { return impl_->broken ? 0 : impl_->sink.count(); }

bool OutputParser::in_reasoning() const {
  return impl_->phase == Impl::Phase::kOpenReasoning || impl_->phase == Impl::Phase::kReasoning;
}

}  // namespace tandem::server
