#include "server/api/stop_scanner.h"

#include <algorithm>
#include <utility>

namespace tandem::server {

/// Bytes at the end of the held text that a stop string may begin with.
std::size_t StopScanner::held_back() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    std::size_t length = std::min(stop.size() - 1, held_.size());
    while (length > longest && !held_.ends_with(std::string_view(stop).substr(0, length))) --length;
    longest = std::max(longest, length);
  }
  return longest;
}

StopScanner::Piece StopScanner::push(std::string_view text) {
  held_ += text;
  std::size_t begin = std::string::npos;
  std::size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t found = held_.find(stop);
    if (found == std::string::npos) continue;
    const std::size_t last = found + stop.size();
    if (last < end || (last == end && found < begin)) {
      begin = found;
      end = last;
    }
  }
  if (begin != std::string::npos) {
    held_.resize(begin);
    return {std::exchange(held_, {}), true};
  }
  const std::size_t certain = held_.size() - held_back();
  Piece piece{held_.substr(0, certain), false};
  held_.erase(0, certain);
  return piece;
}

}  // namespace tandem::server
