#pragma once
// check(): for bugs only, never for what a user, a file or the network can cause.

#include <source_location>
#include <string_view>

namespace tandem {

/// Ends the process with the reason and the place when `condition` is false.
void check(bool condition, std::string_view why,
           std::source_location where = std::source_location::current());

}  // namespace tandem
