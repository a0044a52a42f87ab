#pragma once
// What the fuzz targets share.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::fuzz {

/// Ends the process, which libFuzzer reports with the input, unless the property holds.
inline void require(bool holds) {
  if (!holds) std::abort();
}

/// The bytes of an input, taken from the front.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  /// 0 when there is no more.
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto first = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  /// Up to the next `mark`, which is dropped; all when there is none.
  std::string_view part(char mark) {
    const std::size_t at = rest_.find(mark);
    const std::string_view found = rest_.substr(0, at);
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at + 1);
    return found;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

/// Of UTF-8 text.
inline bool within_character(char byte) { return (static_cast<std::uint8_t>(byte) & 0xC0) == 0x80; }

/// `text` cut into pieces of up to `most` characters, how many says `state`.
inline std::vector<std::string_view> pieces(std::string_view text, std::uint32_t state,
                                            std::uint32_t most) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    state = state * 1664525U + 1013904223U;
    std::size_t size = 0;
    for (std::uint32_t left = 1 + (state >> 16) % most; left > 0 && size < text.size(); --left) {
      do ++size;
      while (size < text.size() && within_character(text[size]));
    }
    out.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return out;
}

/// What an input may be refused with: its own fault or a limit, in one line of bounded length.
inline void require_refusal(const Error& error) {
  require(error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kResourceLimit);
  require(!error.message.empty() && error.message.size() < 4096);
  for (const char byte : error.message) require(static_cast<std::uint8_t>(byte) >= 0x20);
}

}  // namespace tandem::fuzz
