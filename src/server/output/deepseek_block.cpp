#include <array>
#include <span>

#include "server/output/call_blocks.h"
#include "server/output/markers.h"

namespace tandem::server {

using State = ReadStep::State;

ReadStep DeepseekBlock::read(std::string_view text, CallSink& sink) {
  switch (place_) {
    case Place::kCall:
      return read_call(text, sink);
    case Place::kHead:
      return read_until(text, marker::kDeepseekSep, Place::kBehindSep);
    case Place::kBehindSep:
      return read_behind_sep(text, sink);
    case Place::kName:
      return read_until(text, "\n", Place::kFence);
    case Place::kFence:
      return read_fence(text, sink);
    case Place::kArguments: {
      if (!arguments_.done()) return arguments_.read(text, sink);
      ++calls_;
      place_ = Place::kTail;
      return {State::kAgain, 0};
    }
    case Place::kTail:
      return read_tail(text, sink);
  }
  return {State::kFailed, 0};
}

ReadStep DeepseekBlock::read_call(std::string_view text, CallSink& sink) {
  static constexpr std::array kMarkers = {marker::kDeepseekCall, marker::kDeepseekCallsEnd};
  const std::size_t spaces = leading_spaces(text);
  const MarkerMatch match = match_marker(text.substr(spaces), kMarkers);
  if (match.marker == 0) {
    place_ = Place::kHead;
    name_.clear();
    return {State::kAgain, spaces + marker::kDeepseekCall.size()};
  }
  if (match.partial) return {State::kMore, 0};
  if (calls_ == 0) return {State::kFailed, 0};
  if (match.marker < 0) return {State::kDone, 0};
  sink.settle();
  return {State::kDone, spaces + marker::kDeepseekCallsEnd.size()};
}

/// Gathers the name up to `end`.
ReadStep DeepseekBlock::read_until(std::string_view text, std::string_view end, Place next) {
  NameStep name = read_name(text, std::span(&end, 1), name_);
  if (name.step.state != State::kAgain) return name.step;
  place_ = next;
  name.step.used += end.size();
  return name.step;
}

/// V3.1 has the arguments here; before, what was read is the call's type, and the name comes now.
ReadStep DeepseekBlock::read_behind_sep(std::string_view text, CallSink& sink) {
  const std::size_t spaces = leading_spaces(text);
  if (spaces == text.size()) return {State::kMore, spaces};
  if (text[spaces] == '{') return begin_arguments(spaces, sink);
  name_.clear();
  place_ = Place::kName;
  return {State::kAgain, spaces};
}

ReadStep DeepseekBlock::read_fence(std::string_view text, CallSink& sink) {
  static constexpr std::array kFences = {std::string_view("```json"), std::string_view("{")};
  const std::size_t spaces = leading_spaces(text);
  const MarkerMatch match = match_marker(text.substr(spaces), kFences);
  if (match.marker == 1) return begin_arguments(spaces, sink);
  if (match.marker < 0) return {match.partial ? State::kMore : State::kFailed, 0};
  return {State::kAgain, spaces + kFences.front().size()};
}

ReadStep DeepseekBlock::begin_arguments(std::size_t used, CallSink& sink) {
  if (!sink.begin(name_)) return {State::kFailed, used};
  arguments_ = {};
  place_ = Place::kArguments;
  return {State::kAgain, used};
}

ReadStep DeepseekBlock::read_tail(std::string_view text, CallSink& sink) {
  static constexpr std::array kTails = {marker::kDeepseekCallEnd, std::string_view("```")};
  const std::size_t spaces = leading_spaces(text);
  const MarkerMatch match = match_marker(text.substr(spaces), kTails);
  if (match.marker < 0) return {match.partial ? State::kMore : State::kDone, 0};
  sink.settle();
  if (match.marker == 0) place_ = Place::kCall;
  return {State::kAgain, spaces + kTails[static_cast<std::size_t>(match.marker)].size()};
}

}  // namespace tandem::server
