#pragma once
// Stop strings in text that arrives in pieces.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tandem::server {

/// Passes text on until the first stop string is complete; what may be the beginning of one is held
/// back. The result does not depend on where the text is cut. One thread.
class StopScanner {
 public:
  /// None of `stops` is empty.
  explicit StopScanner(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  struct Piece {
    std::string text;
    bool stopped = false;  // a stop string follows `text`; nothing more is to be pushed
  };
  Piece push(std::string_view text);
  /// What was held back, when the text ended without a stop string.
  std::string finish() { return std::move(held_); }

 private:
  std::size_t held_back() const;

  std::vector<std::string> stops_;
  std::string held_;
};

}  // namespace tandem::server
