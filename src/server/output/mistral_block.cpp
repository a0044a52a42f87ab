#include <array>

#include "server/output/call_blocks.h"
#include "server/output/markers.h"

namespace tandem::server {

using State = ReadStep::State;

ReadStep MistralBlock::read(std::string_view text, CallSink& sink) {
  switch (place_) {
    case Place::kOpen:
      return read_open(text);
    case Place::kItem:
      return read_item(text);
    case Place::kObject:
      return read_object(text, sink);
    case Place::kNext:
      return read_next(text, sink);
    case Place::kName:
      return read_function(text);
    case Place::kId: {  // an id of the model's own; the call gets one of ours
      static constexpr std::array kEnd = {marker::kMistralArgs};
      const MarkerPlace place = find_marker(text, kEnd);
      if (place.marker < 0) return {State::kMore, place.before};
      place_ = Place::kOpenArguments;
      return {State::kAgain, place.before + marker::kMistralArgs.size()};
    }
    case Place::kOpenArguments:
      return read_open_arguments(text, sink);
    case Place::kArguments:
      return arguments_.done() ? ReadStep{State::kDone, 0} : arguments_.read(text, sink);
  }
  return {State::kFailed, 0};
}

ReadStep MistralBlock::read_open(std::string_view text) {
  const std::size_t spaces = leading_spaces(text);
  if (spaces == text.size()) return {State::kMore, spaces};
  list_ = text[spaces] == '[';
  place_ = list_ || text[spaces] == '{' ? Place::kItem : Place::kName;
  return {State::kAgain, spaces + (list_ ? 1 : 0)};
}

ReadStep MistralBlock::read_item(std::string_view text) {
  const std::size_t spaces = leading_spaces(text);
  if (spaces == text.size()) return {State::kMore, spaces};
  if (text[spaces] != '{') return {State::kFailed, spaces};
  object_ = EnvelopeReader(nullptr);
  place_ = Place::kObject;
  return {State::kAgain, spaces};
}

ReadStep MistralBlock::read_object(std::string_view text, CallSink& sink) {
  ReadStep step = object_.read(text, sink);
  if (step.state == State::kDone && list_) {
    place_ = Place::kNext;
    step.state = State::kAgain;
  }
  return step;
}

ReadStep MistralBlock::read_next(std::string_view text, CallSink& sink) {
  const std::size_t spaces = leading_spaces(text);
  if (spaces == text.size()) return {State::kMore, 0};
  if (text[spaces] == ',') {
    place_ = Place::kItem;
    return {State::kAgain, spaces + 1};
  }
  if (text[spaces] != ']') return {State::kDone, 0};
  sink.settle();
  return {State::kDone, spaces + 1};
}

ReadStep MistralBlock::read_function(std::string_view text) {
  static constexpr std::array kEnds = {marker::kMistralArgs, marker::kMistralCallId,
                                       std::string_view("{")};
  NameStep name = read_name(text, kEnds, name_);
  if (name.step.state != State::kAgain) return name.step;
  const auto end = static_cast<std::size_t>(name.end);
  place_ = end == 1 ? Place::kId : Place::kOpenArguments;
  // A brace is the first of the arguments.
  if (end != 2) name.step.used += kEnds[end].size();
  return name.step;
}

ReadStep MistralBlock::read_open_arguments(std::string_view text, CallSink& sink) {
  const std::size_t spaces = leading_spaces(text);
  if (spaces == text.size()) return {State::kMore, spaces};
  if (text[spaces] != '{' || !sink.begin(name_)) return {State::kFailed, spaces};
  place_ = Place::kArguments;
  return {State::kAgain, spaces};
}

}  // namespace tandem::server
