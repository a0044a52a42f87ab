#pragma once
// JSON on standard output.

#include <nlohmann/json.hpp>
#include <string>

namespace tandem::cli {

/// One line, UTF-8; bytes that are no UTF-8 become U+FFFD instead of an exception.
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace tandem::cli
