#include "client/event_reader.h"

#include <fmt/format.h>

#include <utility>

namespace tandem::client {
namespace {

Error too_long() {
  return {ErrorCode::kResourceLimit,
          fmt::format("the stream has an event of more than {} bytes", kEventBytesMax)};
}

}  // namespace

Status EventReader::take_line(std::vector<std::string>& events) {
  if (line_.empty()) {
    if (has_data_) events.push_back(std::exchange(data_, {}));
    has_data_ = false;
    return {};
  }
  const std::size_t colon = line_.find(':');
  if (line_.compare(0, colon, "data") == 0) {
    std::string_view value =
        colon == line_.npos ? std::string_view() : std::string_view(line_).substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (has_data_) data_ += '\n';
    has_data_ = true;
    if (data_.size() + value.size() > kEventBytesMax) return too_long();
    data_ += value;
  }
  line_.clear();
  return {};
}

Status EventReader::feed(std::string_view bytes, std::vector<std::string>& events) {
  while (!bytes.empty()) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t end = bytes.find_first_of("\r\n");
    line_ += bytes.substr(0, end);
    if (line_.size() > kEventBytesMax) return too_long();
    if (end == bytes.npos) return {};
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (auto status = take_line(events); !status.ok()) return status;
  }
  return {};
}

}  // namespace tandem::client
