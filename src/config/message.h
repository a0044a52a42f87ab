#pragma once
// Pieces of one-line error messages.

#include <nlohmann/json.hpp>
#include <string>

namespace tandem::config {

/// A value as a message shows it: ASCII, cut after 60 bytes.
std::string shown(const nlohmann::json& value);
/// Control characters become spaces, so that a hostile name cannot start a new line; a text over
/// 1,000 bytes is cut between characters.
std::string one_line(std::string text);

}  // namespace tandem::config
