#pragma once
// Files of API keys.

#include <string>
#include <vector>

#include "tandem/error.h"

namespace tandem::cli {

/// The lines of a file that are not empty, at least one. Errors name the file.
Result<std::vector<std::string>> read_key_file(const std::string& file);

}  // namespace tandem::cli
