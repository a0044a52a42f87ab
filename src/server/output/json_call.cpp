#include "server/output/json_call.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "server/output/markers.h"

namespace tandem::server {

using Event = JsonScanner::Event;
using State = ReadStep::State;
using nlohmann::json;

bool valid_name(std::string_view name) {
  const auto control = [](char byte) { return static_cast<unsigned char>(byte) < 0x20; };
  return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::none_of(name, control);
}

NameStep read_name(std::string_view text, std::span<const std::string_view> ends,
                   std::string& name) {
  const MarkerPlace place = find_marker(text, ends);
  const std::size_t room = kMaxNameBytes - name.size();
  name += text.substr(0, std::min(place.before, room));
  if (place.before > room) return {{State::kFailed, room}};
  if (place.marker < 0) return {{State::kMore, place.before}};
  name.erase(0, leading_spaces(name));
  name.resize(name.size() - trailing_spaces(name));
  const State state = valid_name(name) ? State::kAgain : State::kFailed;
  return {{state, place.before}, place.marker};
}

void append_json_byte(std::string& out, char byte, bool in_string) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  const auto value = static_cast<unsigned char>(byte);
  if (!in_string || value >= 0x20) {
    out += byte;
  } else if (byte == '\n') {
    out += "\\n";
  } else {
    out += "\\u00";
    out += kHex[value >> 4];
    out += kHex[value & 15];
  }
}

ReadStep ArgumentsReader::read(std::string_view text, CallSink& sink) {
  std::string fragment;
  std::size_t used = 0;
  for (; used < text.size() && !scanner_.done(); ++used) {
    const bool in_string = scanner_.in_string();
    if (scanner_.feed(text[used]) == Event::kError) {
      sink.arguments(fragment);
      return {State::kFailed, used};
    }
    append_json_byte(fragment, text[used], in_string);
  }
  sink.arguments(fragment);
  if (scanner_.done()) sink.end();
  return {used == 0 ? State::kMore : State::kAgain, used};
}

ReadStep EnvelopeReader::read(std::string_view text, CallSink& sink) {
  if (streaming_) return stream(text, sink);
  for (std::size_t at = 0; at < text.size(); ++at) {
    const State state = take(text[at], sink);
    // The byte that fails stays with the text behind it.
    if (state == State::kFailed) return {state, at};
    if (state != State::kMore) return {state, at + 1};
  }
  return {State::kMore, text.size()};
}

State EnvelopeReader::take(char byte, CallSink& sink) {
  const bool was_in_string = scanner_.in_string();
  const Event event = scanner_.feed(byte);
  if (event == Event::kError) return State::kFailed;
  const bool key_begins = !was_in_string && scanner_.in_string() && event != Event::kValueBegin &&
                          scanner_.depth() == 1;
  if (key_begins) {
    capturing_ = true;
    captured_.clear();
  }
  if (event == Event::kValueBegin) {
    if (scanner_.level() == 0 && byte != '{') return State::kFailed;
    if (scanner_.level() == 1) return begin_value(byte, sink);
  }
  if (capturing_) append_json_byte(captured_, byte, was_in_string);
  if (event == Event::kKeyEnd && scanner_.level() == 1) {
    return take_key() ? State::kMore : State::kFailed;
  }
  if (scanner_.done()) return end_object(sink);
  if (event == Event::kValueEnd && scanner_.level() == 1) return end_value(sink);
  return State::kMore;
}

/// False for a member that a call does not have, where that decides.
bool EnvelopeReader::take_key() {
  capturing_ = false;
  const json key = json::parse(captured_, nullptr, false);
  role_ = Role::kSkip;
  if (key == "name") {
    role_ = called_ ? Role::kSkip : Role::kName;
  } else if (key == "arguments" || key == "parameters") {
    role_ = called_ ? Role::kSkip : Role::kArguments;
  } else if (known_ != nullptr && key != "type" && key != "id") {
    return false;
  }
  return true;
}

State EnvelopeReader::begin_value(char byte, CallSink& sink) {
  if (role_ == Role::kSkip) return State::kMore;
  if (role_ == Role::kName && byte != '"') return State::kFailed;
  if (role_ == Role::kArguments && byte == 'n') {  // null: no arguments
    role_ = Role::kSkip;
    if (name_.empty()) held_ = "{}";
    return name_.empty() ? State::kMore : whole_call("{}", sink);
  }
  if (role_ == Role::kArguments && byte != '{' && byte != '"') return State::kFailed;
  if (role_ == Role::kArguments && byte == '{' && !name_.empty()) {
    if (!sink.begin(name_)) return State::kFailed;
    sink.arguments("{");
    called_ = streaming_ = true;
    return State::kAgain;
  }
  capturing_ = true;
  captured_ = byte;
  return State::kMore;
}

State EnvelopeReader::end_value(CallSink& sink) {
  if (!std::exchange(capturing_, false)) return State::kMore;
  if (role_ == Role::kName) {
    if (!take_name()) return State::kFailed;
    return held_ ? whole_call(*held_, sink) : State::kMore;
  }
  held_ = captured_object();
  if (!held_) return State::kFailed;
  return name_.empty() ? State::kMore : whole_call(*held_, sink);
}

bool EnvelopeReader::take_name() {
  const json name = json::parse(captured_, nullptr, false);
  if (!name.is_string() || !valid_name(name.get_ref<const std::string&>())) return false;
  name_ = name.get<std::string>();
  return known_ == nullptr ||
         std::ranges::any_of(*known_, [&](const ToolSpec& tool) { return tool.name == name_; });
}

/// The captured arguments as the text of an object: themselves, or what is inside the string.
std::optional<std::string> EnvelopeReader::captured_object() const {
  if (captured_.front() == '{') return captured_;
  const json text = json::parse(captured_, nullptr, false);
  if (!text.is_string()) return std::nullopt;
  std::string object;
  JsonScanner scanner;
  for (const char byte : text.get_ref<const std::string&>()) {
    const bool in_string = scanner.in_string();
    if (scanner.feed(byte) == Event::kError) return std::nullopt;
    if (scanner.level() == 0 && object.empty() && byte != '{') return std::nullopt;
    append_json_byte(object, byte, in_string);
  }
  if (!scanner.done()) return std::nullopt;
  return object;
}

State EnvelopeReader::whole_call(std::string_view arguments, CallSink& sink) {
  if (!sink.begin(name_)) return State::kFailed;
  called_ = true;
  sink.arguments(arguments);
  sink.end();
  return State::kAgain;
}

/// The closing brace: the call's last chance, with no arguments at all.
State EnvelopeReader::end_object(CallSink& sink) {
  if (!called_) {
    if (name_.empty() || known_ != nullptr) return State::kFailed;
    if (whole_call("{}", sink) == State::kFailed) return State::kFailed;
  }
  sink.settle();
  return State::kDone;
}

ReadStep EnvelopeReader::stream(std::string_view text, CallSink& sink) {
  std::string fragment;
  std::size_t used = 0;
  while (used < text.size() && streaming_) {
    const char byte = text[used];
    const bool in_string = scanner_.in_string();
    const Event event = scanner_.feed(byte);
    if (event == Event::kError) {
      sink.arguments(fragment);
      return {State::kFailed, used};
    }
    append_json_byte(fragment, byte, in_string);
    ++used;
    streaming_ = event != Event::kValueEnd || scanner_.level() != 1;
  }
  sink.arguments(fragment);
  if (!streaming_) sink.end();
  return {used == 0 ? State::kMore : State::kAgain, used};
}

}  // namespace tandem::server
