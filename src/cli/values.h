#pragma once
// Values as they are written on a command line. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::cli {

/// A whole number in [min, max], decimal digits with an optional minus.
Result<std::int64_t> parse_integer(std::string_view text, std::int64_t min, std::int64_t max);
/// A decimal number in [min, max]; no inf, nan or hexadecimal.
Result<double> parse_real(std::string_view text, double min, double max);
/// Any 64-bit seed.
Result<std::uint64_t> parse_seed(std::string_view text);
/// "1,2,3", at most limits::kIdsMax ids of [0, 2^31).
Result<std::vector<std::int32_t>> parse_ids(std::string_view text);
/// A JSON list of ids; `file` is for messages.
Result<std::vector<std::int32_t>> parse_json_ids(std::string_view text, std::string_view file);
/// True when the text is well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text);
/// As mlx-lm reads --prompt: the two characters \n become a line end and \t a tab.
std::string unescape_prompt(std::string_view text);
/// A value as an error message shows it: quoted, ASCII, cut when long.
std::string in_quotes(std::string_view text);
/// An error as it is printed: one line of at most 1000 bytes, control characters and bytes that are
/// no UTF-8 replaced.
std::string error_line(std::string_view message);
/// The double whose shortest decimal form is the float's shortest one, so that a printed number
/// parses back to the same float.
double printable(float value);
/// "612 MB", "4.68 GB": decimal units, three digits.
std::string format_bytes(double bytes);

}  // namespace tandem::cli
