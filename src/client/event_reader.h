#pragma once
// Server-sent events taken out of a body as its bytes arrive (WHATWG HTML, section 9.2.6).

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::client {

/// Longest event, and longest line, bytes.
inline constexpr std::size_t kEventBytesMax = 1U << 20;

/// Lines end in LF, CR or CR LF; comments and fields other than `data` are dropped.
class EventReader {
 public:
  /// Appends the data of every event that `bytes` complete. kResourceLimit: an event is longer than
  /// kEventBytesMax; the reader is then of no use.
  Status feed(std::string_view bytes, std::vector<std::string>& events);

 private:
  Status take_line(std::vector<std::string>& events);

  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_cr_ = false;
};

}  // namespace tandem::client
