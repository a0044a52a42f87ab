#pragma once
// Sizes as messages show them. Pure.

#include <string>

namespace tandem::config {

/// "612 MB", "4.68 GB": decimal units, three digits.
std::string format_bytes(double bytes);

}  // namespace tandem::config
