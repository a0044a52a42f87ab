#pragma once
// JSON as Python's json module writes it: the files of a model folder.

#include <nlohmann/json.hpp>
#include <string_view>

#include "tandem/error.h"

namespace tandem::config {

/// parse_json(), but NaN, Infinity and -Infinity outside of strings are read as the strings "NaN",
/// "Infinity" and "-Infinity", so that only a reader who wants a number there refuses them, by the
/// field's name.
Result<nlohmann::json> parse_python_json(std::string_view text, std::string_view file);

}  // namespace tandem::config
