#include "config/python_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "config/json.h"

namespace tandem::config {
namespace {

/// The text with the number words that only Python knows in quotes, wherever they stand outside of
/// strings.
std::string with_quoted_constants(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool quoted = false;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t taken = 1;
    if (quoted && text[i] == '\\') {
      taken = std::min<std::size_t>(2, text.size() - i);
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted) {
      for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
        if (text.substr(i).starts_with(word)) taken = word.size();
      }
    }
    const std::string_view piece = text.substr(i, taken);
    out += taken > 2 ? fmt::format("\"{}\"", piece) : std::string(piece);
    i += taken;
  }
  return out;
}

}  // namespace

Result<nlohmann::json> parse_python_json(std::string_view text, std::string_view file) {
  return parse_json(with_quoted_constants(text), file);
}

}  // namespace tandem::config
