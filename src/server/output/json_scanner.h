#pragma once
// Strict JSON (RFC 8259) checked byte by byte, for text that is passed on while it arrives.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem::server {

/// Deepest nesting accepted.
inline constexpr std::size_t kMaxScanDepth = 64;

/// Follows one JSON value. One difference to the RFC: control characters inside strings pass, since
/// models write raw newlines there; who passes text on escapes them (see in_string()).
class JsonScanner {
 public:
  enum class Event {
    kNone,
    kKeyEnd,      // a key's closing quote
    kValueBegin,  // a value's first byte
    kValueEnd,    // the last byte of a string, object or array
    kError,       // not JSON; stays
  };
  Event feed(char byte);

  /// How many containers surround the key or value of the last event.
  std::size_t level() const { return level_; }
  /// How many containers are open.
  std::size_t depth() const { return closers_.size(); }
  /// Whether the outermost value, a string, object or array, is complete.
  bool done() const { return state_ == State::kDone; }
  /// Whether the next byte belongs to a string.
  bool in_string() const { return state_ >= State::kString && state_ <= State::kUnicode; }

 private:
  enum class State : std::uint8_t {
    kValue,
    kFirstItem,  // a value or ]
    kFirstKey,   // a key or }
    kKey,
    kColon,
    kAfterValue,  // , or the end of the container
    kString,
    kEscape,
    kUnicode,
    kLiteral,
    kMinus,
    kZero,
    kInteger,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
    kDone,
    kFailed,
  };

  Event fail();
  Event begin_value(char byte);
  Event end_value();
  Event open(char close);
  Event string_byte(char byte);
  Event literal_byte(char byte);
  Event number_byte(char byte);
  Event after_value(char byte);

  State state_ = State::kValue;
  std::vector<char> closers_;  // of the open containers
  std::size_t level_ = 0;
  bool string_is_key_ = false;
  int unicode_digits_ = 0;
  const char* literal_ = "";  // what is left of true, false or null
};

}  // namespace tandem::server
