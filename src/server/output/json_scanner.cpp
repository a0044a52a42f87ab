#include "server/output/json_scanner.h"

#include <string_view>

namespace tandem::server {
namespace {

bool is_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }
bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }
bool is_hex(char byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

}  // namespace

JsonScanner::Event JsonScanner::feed(char byte) {
  switch (state_) {
    case State::kString:
    case State::kEscape:
    case State::kUnicode:
      return string_byte(byte);
    case State::kLiteral:
      return literal_byte(byte);
    case State::kMinus:
    case State::kZero:
    case State::kInteger:
    case State::kPoint:
    case State::kFraction:
    case State::kExponent:
    case State::kExponentSign:
    case State::kExponentDigits:
      return number_byte(byte);
    case State::kFailed:
      return Event::kError;
    case State::kDone:
      return is_space(byte) ? Event::kNone : fail();
    default:
      break;
  }
  if (is_space(byte)) return Event::kNone;
  switch (state_) {
    case State::kFirstItem:
      if (byte == ']') return end_value();
      return begin_value(byte);
    case State::kFirstKey:
      if (byte == '}') return end_value();
      [[fallthrough]];
    case State::kKey:
      if (byte != '"') return fail();
      string_is_key_ = true;
      state_ = State::kString;
      return Event::kNone;
    case State::kColon:
      if (byte != ':') return fail();
      state_ = State::kValue;
      return Event::kNone;
    case State::kAfterValue:
      return after_value(byte);
    default:
      return begin_value(byte);
  }
}

JsonScanner::Event JsonScanner::fail() {
  state_ = State::kFailed;
  return Event::kError;
}

JsonScanner::Event JsonScanner::open(char close) {
  if (closers_.size() == kMaxScanDepth) return fail();
  closers_.push_back(close);
  state_ = close == '}' ? State::kFirstKey : State::kFirstItem;
  return Event::kValueBegin;
}

JsonScanner::Event JsonScanner::begin_value(char byte) {
  level_ = closers_.size();
  switch (byte) {
    case '{':
      return open('}');
    case '[':
      return open(']');
    case '"':
      string_is_key_ = false;
      state_ = State::kString;
      return Event::kValueBegin;
    case 't':
      literal_ = "rue";
      break;
    case 'f':
      literal_ = "alse";
      break;
    case 'n':
      literal_ = "ull";
      break;
    case '-':
      state_ = State::kMinus;
      return Event::kValueBegin;
    case '0':
      state_ = State::kZero;
      return Event::kValueBegin;
    default:
      if (!is_digit(byte)) return fail();
      state_ = State::kInteger;
      return Event::kValueBegin;
  }
  state_ = State::kLiteral;
  return Event::kValueBegin;
}

/// A container closes.
JsonScanner::Event JsonScanner::end_value() {
  closers_.pop_back();
  level_ = closers_.size();
  state_ = closers_.empty() ? State::kDone : State::kAfterValue;
  return Event::kValueEnd;
}

JsonScanner::Event JsonScanner::after_value(char byte) {
  if (closers_.empty()) return fail();
  if (byte == ',') {
    state_ = closers_.back() == '}' ? State::kKey : State::kValue;
    return Event::kNone;
  }
  return byte == closers_.back() ? end_value() : fail();
}

JsonScanner::Event JsonScanner::string_byte(char byte) {
  if (state_ == State::kEscape) {
    if (byte == 'u') {
      unicode_digits_ = 0;
      state_ = State::kUnicode;
      return Event::kNone;
    }
    if (std::string_view("\"\\/bfnrt").find(byte) == std::string_view::npos) return fail();
    state_ = State::kString;
    return Event::kNone;
  }
  if (state_ == State::kUnicode) {
    if (!is_hex(byte)) return fail();
    if (++unicode_digits_ == 4) state_ = State::kString;
    return Event::kNone;
  }
  if (byte == '\\') state_ = State::kEscape;
  if (byte != '"') return Event::kNone;
  level_ = closers_.size();
  if (string_is_key_) {
    state_ = State::kColon;
    return Event::kKeyEnd;
  }
  state_ = closers_.empty() ? State::kDone : State::kAfterValue;
  return Event::kValueEnd;
}

JsonScanner::Event JsonScanner::literal_byte(char byte) {
  if (byte != *literal_) return fail();
  if (*++literal_ == '\0') state_ = State::kAfterValue;
  return Event::kNone;
}

JsonScanner::Event JsonScanner::number_byte(char byte) {
  const auto to = [this](State state) {
    state_ = state;
    return Event::kNone;
  };
  const bool exponent = byte == 'e' || byte == 'E';
  switch (state_) {
    case State::kMinus:
      if (byte == '0') return to(State::kZero);
      return is_digit(byte) ? to(State::kInteger) : fail();
    case State::kInteger:
      if (is_digit(byte)) return Event::kNone;
      [[fallthrough]];
    case State::kZero:
      if (byte == '.') return to(State::kPoint);
      if (exponent) return to(State::kExponent);
      break;
    case State::kPoint:
      return is_digit(byte) ? to(State::kFraction) : fail();
    case State::kFraction:
      if (is_digit(byte)) return Event::kNone;
      if (exponent) return to(State::kExponent);
      break;
    case State::kExponent:
      if (byte == '+' || byte == '-') return to(State::kExponentSign);
      [[fallthrough]];
    case State::kExponentSign:
      return is_digit(byte) ? to(State::kExponentDigits) : fail();
    default:
      if (is_digit(byte)) return Event::kNone;
      break;
  }
  // The number ended before this byte.
  state_ = State::kAfterValue;
  return is_space(byte) ? Event::kNone : after_value(byte);
}

}  // namespace tandem::server
