#include "cli/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/limits.h"
#include "config/json.h"
#include "config/sizes.h"

namespace tandem::cli {
namespace {

/// Bytes of the character that starts at text[i], 0 when it is malformed.
std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(i);
  if (lead < 0x80) return 1;
  std::size_t length = 0;
  if (lead >= 0xC2 && lead <= 0xDF) length = 2;
  if (lead >= 0xE0 && lead <= 0xEF) length = 3;
  if (lead >= 0xF0 && lead <= 0xF4) length = 4;
  if (length == 0 || i + length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(i + 1);
  if (lead == 0xE0 && second < 0xA0) return 0;  // overlong
  if (lead == 0xED && second > 0x9F) return 0;  // surrogates
  if (lead == 0xF0 && second < 0x90) return 0;  // overlong
  if (lead == 0xF4 && second > 0x8F) return 0;  // above U+10FFFF
  return length;
}

bool is_decimal(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789+-.eE") == std::string_view::npos;
}

Error too_many_ids(std::string_view where) {
  return invalid(fmt::format("{} holds more than {} ids", where, limits::kIdsMax));
}

}  // namespace

Result<std::int64_t> parse_integer(std::string_view text, std::int64_t min, std::int64_t max) {
  std::int64_t value = 0;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto [stop, failure] = std::from_chars(begin, end, value);
  if (failure == std::errc{} && stop == end && value >= min && value <= max) return value;
  return invalid(
      fmt::format("must be a whole number in [{}, {}], not {}", min, max, in_quotes(text)));
}

Result<double> parse_real(std::string_view text, double min, double max) {
  // strtod, because the floating std::from_chars is missing from older standard libraries.
  const std::string copy(text);
  char* stop = nullptr;
  const double value = std::strtod(copy.c_str(), &stop);
  const bool whole = is_decimal(text) && stop == copy.c_str() + copy.size();
  if (whole && std::isfinite(value) && value >= min && value <= max) return value;
  return invalid(fmt::format("must be a number in [{}, {}], not {}", min, max, in_quotes(text)));
}

Result<std::uint64_t> parse_seed(std::string_view text) {
  std::uint64_t value = 0;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto [stop, failure] = std::from_chars(begin, end, value);
  if (failure == std::errc{} && stop == end) return value;
  return invalid(fmt::format("must be a whole number in [0, 2^64), not {}", in_quotes(text)));
}

Result<std::vector<std::int32_t>> parse_ids(std::string_view text) {
  std::vector<std::int32_t> ids;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t comma = text.find(',', begin);
    const std::string_view item = text.substr(begin, comma - begin);
    auto id = parse_integer(item, 0, std::numeric_limits<std::int32_t>::max());
    if (!id) {
      return invalid(fmt::format("item {} {}", ids.size() + 1, id.error().message));
    }
    if (ids.size() == limits::kIdsMax) return too_many_ids("the list");
    ids.push_back(static_cast<std::int32_t>(*id));
    if (comma == std::string_view::npos) return ids;
    begin = comma + 1;
  }
}

Result<std::vector<std::int32_t>> parse_json_ids(std::string_view text, std::string_view file) {
  auto json = config::parse_json(text, file);
  if (!json) return json.error();
  if (!json->is_array()) return invalid(fmt::format("{}: must be a JSON list of token ids", file));
  if (json->empty()) return invalid(fmt::format("{}: the list of token ids is empty", file));
  if (json->size() > limits::kIdsMax) return too_many_ids(file);
  std::vector<std::int32_t> ids;
  ids.reserve(json->size());
  for (const nlohmann::json& item : *json) {
    const bool fits = item.is_number_unsigned() &&
                      item.get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max();
    if (!fits) {
      return invalid(fmt::format("{}: item {} must be a token id in [0, 2^31), not {}", file,
                                 ids.size() + 1, in_quotes(item.dump(-1, ' ', true))));
    }
    ids.push_back(item.get<std::int32_t>());
  }
  return ids;
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

std::string unescape_prompt(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool pair = text[i] == '\\' && i + 1 < text.size();
    if (pair && (text[i + 1] == 'n' || text[i + 1] == 't')) {
      out.push_back(text[++i] == 'n' ? '\n' : '\t');
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShownMax = 60;
  std::string out = "\"";
  for (const char c : text.substr(0, kShownMax)) out.push_back(c >= ' ' && c <= '~' ? c : '?');
  if (text.size() > kShownMax) out += "...";
  return out + "\"";
}

std::string error_line(std::string_view message) {
  constexpr std::size_t kLineMax = 1000;
  std::string out;
  for (std::size_t i = 0; i < message.size();) {
    const std::size_t length = utf8_length(message, i);
    if (out.size() + length > kLineMax) return out + "...";
    const bool control = length == 1 && (message[i] < ' ' || message[i] == '\x7F');
    if (length == 0) {
      out += '?';
    } else if (control) {
      out += ' ';
    } else {
      out += message.substr(i, length);
    }
    i += length == 0 ? 1 : length;
  }
  return out;
}

double printable(float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); }

std::string format_bytes(double bytes) { return config::format_bytes(bytes); }

}  // namespace tandem::cli
