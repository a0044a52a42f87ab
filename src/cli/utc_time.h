#pragma once
// The time of day, for log lines.

#include <string>

namespace tandem::cli {

/// "2026-11-30T20:15:00Z".
std::string utc_now();

}  // namespace tandem::cli
