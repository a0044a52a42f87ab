#include "server/output/tagged_call.h"

#include <algorithm>
#include <array>
#include <span>

#include "server/output/json_call.h"
#include "server/output/markers.h"

namespace tandem::server {
namespace {

using State = ReadStep::State;
using Markers = std::span<const std::string_view>;

constexpr std::array kGlmNameEnds = {std::string_view("\n"), marker::kArgKey, marker::kToolCallEnd};
constexpr std::array kQwenNameEnds = {std::string_view(">")};
constexpr std::array kGlmBetween = {marker::kArgKey, marker::kToolCallEnd};
constexpr std::array kQwenBetween = {marker::kParameter, marker::kFunctionEnd,
                                     marker::kToolCallEnd};
constexpr std::array kGlmKeyEnds = {marker::kArgKeyEnd};
constexpr std::array kGlmValue = {marker::kArgValue};
std::string json_string(std::string_view text) {
  std::string out = "\"";
  append_escaped(out, text);
  return out + '"';
}

}  // namespace

ReadStep TaggedReader::read(std::string_view text, CallSink& sink) {
  switch (place_) {
    case Place::kName:
      return read_function(text);
    case Place::kBetween:
      return read_between(text, sink);
    case Place::kKey:
      return read_key(text, sink);
    case Place::kBeforeValue:
      return read_before_value(text, sink);
    case Place::kValue:
      return read_value(text, sink);
    case Place::kEnd:
      return {State::kDone, 0};
  }
  return {State::kFailed, 0};
}

ReadStep TaggedReader::read_function(std::string_view text) {
  const bool glm = style_ == Style::kGlm;
  NameStep name = read_name(text, glm ? Markers(kGlmNameEnds) : Markers(kQwenNameEnds), name_);
  if (name.step.state != State::kAgain) return name.step;
  place_ = Place::kBetween;
  // GLM's name ends where the next marker begins, which is read_between()'s.
  if (!glm) name.step.used += kQwenNameEnds.front().size();
  return name.step;
}

ReadStep TaggedReader::read_between(std::string_view text, CallSink& sink) {
  const std::size_t spaces = leading_spaces(text);
  const Markers markers = style_ == Style::kGlm ? Markers(kGlmBetween) : Markers(kQwenBetween);
  const MarkerMatch match = match_marker(text.substr(spaces), markers);
  if (match.marker < 0) return {match.partial ? State::kMore : State::kFailed, 0};
  if (match.marker == 0) {
    place_ = Place::kKey;
    key_.clear();
    return {State::kAgain, spaces + markers.front().size()};
  }
  // </tool_call> is the end of the block around the call.
  const std::string_view end = markers[static_cast<std::size_t>(match.marker)];
  return end_call(spaces + (end == marker::kToolCallEnd ? 0 : end.size()), sink);
}

ReadStep TaggedReader::end_call(std::size_t used, CallSink& sink) {
  if (!begun_ && !begin_call(sink)) return {State::kFailed, 0};
  sink.arguments(arguments_ == 0 ? "{}" : "}");
  sink.end();
  place_ = Place::kEnd;
  return {State::kAgain, used};
}

bool TaggedReader::begin_call(CallSink& sink) {
  begun_ = sink.begin(name_);
  return begun_;
}

ReadStep TaggedReader::read_key(std::string_view text, CallSink& sink) {
  const bool glm = style_ == Style::kGlm;
  const Markers ends = glm ? Markers(kGlmKeyEnds) : Markers(kQwenNameEnds);
  NameStep key = read_name(text, ends, key_);
  if (key.step.state != State::kAgain) return key.step;
  place_ = Place::kBeforeValue;
  if (!glm && !begin_argument(sink)) return {State::kFailed, key.step.used};
  key.step.used += ends.front().size();
  return key.step;
}

ReadStep TaggedReader::read_before_value(std::string_view text, CallSink& sink) {
  const std::size_t spaces = leading_spaces(text);
  const MarkerMatch match = match_marker(text.substr(spaces), kGlmValue);
  if (match.marker < 0) return {match.partial ? State::kMore : State::kFailed, 0};
  if (!begin_argument(sink)) return {State::kFailed, 0};
  return {State::kAgain, spaces + marker::kArgValue.size()};
}

bool TaggedReader::begin_argument(CallSink& sink) {
  if (!begun_ && !begin_call(sink)) return false;
  const auto tool = std::ranges::find(tools_, name_, &ToolSpec::name);
  types_ = tool == tools_.end() ? kAnyType : argument_types(tool->parameters, key_);
  sink.arguments((arguments_++ == 0 ? "{" : ", ") + json_string(key_) +
                 (as_string() ? ": \"" : ": "));
  value_.clear();
  value_begun_ = false;
  given_.insert(key_);
  find_ends();
  place_ = Place::kValue;
  return true;
}

/// What may end the value of the argument that begins.
void TaggedReader::find_ends() {
  const bool glm = style_ == Style::kGlm;
  ends_.clear();
  if (glm) {
    ends_.emplace_back(marker::kArgValueEnd);
  } else {
    // Qwen's template puts a value on lines of its own.
    ends_.push_back('\n' + std::string(marker::kParameterEnd));
    ends_.emplace_back(marker::kParameterEnd);
  }
  closings_ = ends_.size();
  const auto line = [this](const std::string& tag) { ends_.push_back('\n' + tag); };
  line(std::string(marker::kToolCallEnd));
  if (!glm) line(std::string(marker::kFunctionEnd) + '\n');
  const auto tool = std::ranges::find(tools_, name_, &ToolSpec::name);
  if (tool == tools_.end() || !tool->parameters.is_object()) return;
  const auto properties = tool->parameters.find("properties");
  if (properties == tool->parameters.end() || !properties->is_object()) return;
  for (const auto& [name, ignored] : properties->items()) {
    if (given_.contains(name)) continue;
    line(glm ? std::string(marker::kArgKey) + name + std::string(marker::kArgKeyEnd) + '\n'
             : std::string(marker::kParameter) + name + ">\n");
  }
}

ReadStep TaggedReader::read_value(std::string_view text, CallSink& sink) {
  if (text.empty()) return {State::kMore, 0};
  const bool glm = style_ == Style::kGlm;
  if (!value_begun_) {
    value_begun_ = true;
    if (!glm && text.front() == '\n') return {State::kAgain, 1};
  }
  const std::vector<std::string_view> ends(ends_.begin(), ends_.end());
  const MarkerPlace place = find_marker(text, ends);
  std::string piece;
  if (as_string()) {
    append_escaped(piece, text.substr(0, place.before));
  } else {
    value_ += text.substr(0, place.before);
  }
  if (place.marker < 0) {
    sink.arguments(piece);
    return {State::kMore, place.before};
  }
  place_ = Place::kBetween;
  sink.arguments(as_string() ? piece + '"' : json_argument(value_, types_));
  // A line that is no closing tag is read by what comes next.
  const auto end = static_cast<std::size_t>(place.marker);
  return {State::kAgain, place.before + (end < closings_ ? ends[end].size() : 1)};
}

/// The end of the output ends the value too; `rest` may hold the beginning of a tag.
void TaggedReader::end_value(std::string_view rest, CallSink& sink) {
  const auto begins_end = [&](std::string_view tail) {
    return std::ranges::any_of(
        ends_, [&](const std::string& end) { return std::string_view(end).starts_with(tail); });
  };
  for (std::size_t at = 0; at < rest.size(); ++at) {
    if (!begins_end(rest.substr(at))) continue;
    rest = rest.substr(0, at);
    break;
  }
  std::string last;
  if (as_string()) {
    append_escaped(last, rest);
    last += '"';
  } else {
    last = json_argument(value_ + std::string(rest), types_);
  }
  sink.arguments(last);
}

void TaggedReader::finish(std::string_view rest, CallSink& sink) {
  if (!sink.open()) return;
  if (place_ == Place::kValue) end_value(rest, sink);
  end_call(0, sink);
}

}  // namespace tandem::server
