#pragma once
// argv -> options. The only place that knows the flags.

#include <span>
#include <string>
#include <vector>

#include "cli/options.h"
#include "tandem/error.h"

namespace tandem::cli {

/// `arguments` without the program's name. kInvalidArgument: one line that names the flag and the
/// rule. Pure.
Result<Command> parse_command(const std::vector<std::string>& arguments);

/// "tandem 0.1.0".
std::string version_text();

}  // namespace tandem::cli
