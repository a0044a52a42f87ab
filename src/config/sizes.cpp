#include "config/sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <system_error>

#include "config/message.h"
#include "tandem/limits.h"

namespace tandem::config {
namespace {

/// What a unit of sizes stands for, upper or lower case; 0 when it is none.
double bytes_of(std::string_view unit) {
  constexpr std::string_view kUnits = "KMGT";
  if (unit.empty()) return 1;
  const std::size_t power = kUnits.find(static_cast<char>(unit[0] & ~0x20));
  const bool whole = unit.size() == 1 || unit.substr(1) == "B" || unit.substr(1) == "b";
  if (power == std::string_view::npos || !whole) return 0;
  return std::pow(1000.0, static_cast<double>(power + 1));
}

/// "1.5": digits with at most one point; -1 when it is none.
double decimal(std::string_view digits) {
  const std::string copy(digits);
  char* stop = nullptr;
  const double value = std::strtod(copy.c_str(), &stop);
  return !copy.empty() && stop == copy.c_str() + copy.size() ? value : -1;
}

/// Digits alone.
std::optional<int> whole_number(std::string_view digits) {
  const char* const end = digits.data() + digits.size();
  int value = 0;
  const auto [at, code] = std::from_chars(digits.data(), end, value);
  if (digits.starts_with('-') || code != std::errc() || at != end) return std::nullopt;
  return value;
}

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const double bytes = decimal(text.substr(0, digits)) * bytes_of(text.substr(digits));
  if (bytes >= 0 && bytes < 9e18 && bytes_of(text.substr(digits)) > 0) {
    return static_cast<std::uint64_t>(bytes);
  }
  return invalid(fmt::format("must be a size such as 4000000, 500M or 1.5G, not {}",
                             shown(std::string(text))));
}

std::string format_bytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(units)) {
    bytes /= 1000;
    ++unit;
  }
  const int decimals = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", bytes, decimals, units[unit]);
}

Result<LayerRange> parse_layers(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = whole_number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : whole_number(text.substr(dash + 1));
  if (first && last && *first <= *last && *last < kMaxLayers) {
    return LayerRange{*first, *last + 1};
  }
  return invalid(fmt::format("must be layers such as 0-19 or 7, below {}, not {}", kMaxLayers,
                             shown(std::string(text))));
}

Result<std::vector<LayerRange>> parse_layer_list(std::string_view text) {
  std::vector<LayerRange> ranges;
  while (true) {
    const std::size_t comma = text.find(',');
    auto range = parse_layers(text.substr(0, comma));
    if (!range) return range.error();
    const int expected = ranges.empty() ? 0 : ranges.back().last;
    if (range->first != expected) {
      return invalid(fmt::format("rank {} must begin with layer {}, not {}", ranges.size(),
                                 expected, range->first));
    }
    ranges.push_back(*range);
    if (comma == std::string_view::npos) return ranges;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace tandem::config
