#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "config/json.h"
#include "config/message.h"

namespace tandem::config {

using nlohmann::json;

struct FieldReader::Shared {
  std::string file;
  std::optional<Error> error;
};

FieldReader::FieldReader(const json& object, std::string file)
    : FieldReader(object, "", std::make_shared<Shared>(Shared{std::move(file), std::nullopt})) {
  if (!object.is_object()) {
    shared_->error = invalid(shared_->file + ": must be an object, not " + shown(object));
  }
}

FieldReader::FieldReader(const json& object, std::string prefix, std::shared_ptr<Shared> shared)
    : object_(&object), prefix_(std::move(prefix)), shared_(std::move(shared)) {}

namespace {

bool as_integer(const json& value, std::int64_t* out) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
    *out = static_cast<std::int64_t>(number);
    return true;
  }
  if (value.is_number_integer()) {
    *out = value.get<std::int64_t>();
    return true;
  }
  if (!value.is_number_float()) return false;
  // A count that some tool wrote as 8192.0 is still that count.
  const double number = value.get<double>();
  if (number != std::floor(number) || std::abs(number) > 9007199254740992.0) return false;
  *out = static_cast<std::int64_t>(number);
  return true;
}

const json* lookup(const json& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string integer_rule(std::int64_t min, std::int64_t max) {
  if (min == max) return fmt::format("must be {}", min);
  return fmt::format("must be an integer in [{}, {}]", min, max);
}

std::string not_value(std::string_view rule, const json& value) {
  return fmt::format("{}, not {}", rule, shown(value));
}

/// Elements of an array field, each converted by `convert`; nullopt when one does not convert.
template <class T, class Convert>
std::optional<std::vector<T>> elements(const json& value, Convert convert) {
  if (!value.is_array()) return std::nullopt;
  std::vector<T> out;
  out.reserve(value.size());
  for (const json& item : value) {
    std::optional<T> element = convert(item);
    if (!element) return std::nullopt;
    out.push_back(std::move(*element));
  }
  return out;
}

}  // namespace

bool FieldReader::has(std::string_view name) const { return lookup(*object_, name) != nullptr; }

int FieldReader::integer(std::string_view name, std::int64_t min, std::int64_t max) {
  check(min <= max, "an integer field needs a range");
  const auto low = std::max<std::int64_t>(min, std::numeric_limits<int>::min());
  const auto high = std::min<std::int64_t>(max, std::numeric_limits<int>::max());
  const json* value = lookup(*object_, name);
  std::int64_t number = 0;
  if (value == nullptr) {
    fail(name, "is missing");
  } else if (!as_integer(*value, &number) || number < low || number > high) {
    fail(name, not_value(integer_rule(low, high), *value));
  } else {
    return static_cast<int>(number);
  }
  return static_cast<int>(low);
}

double FieldReader::number(std::string_view name, double min, double max) {
  const json* value = lookup(*object_, name);
  if (value == nullptr) {
    fail(name, "is missing");
    return min;
  }
  const double number = value->is_number() ? value->get<double>() : NAN;
  if (number >= min && number <= max) return number;  // false for NaN
  fail(name, not_value(fmt::format("must be a number in [{:g}, {:g}]", min, max), *value));
  return min;
}

bool FieldReader::boolean(std::string_view name) {
  const json* value = lookup(*object_, name);
  if (value == nullptr) {
    fail(name, "is missing");
  } else if (!value->is_boolean()) {
    fail(name, not_value("must be true or false", *value));
  } else {
    return value->get<bool>();
  }
  return false;
}

std::string FieldReader::string(std::string_view name) {
  const json* value = lookup(*object_, name);
  if (value == nullptr) {
    fail(name, "is missing");
  } else if (!value->is_string()) {
    fail(name, not_value("must be a string", *value));
  } else {
    return value->get<std::string>();
  }
  return {};
}

int FieldReader::integer_or(std::string_view name, int fallback, std::int64_t min,
                            std::int64_t max) {
  if (!has(name)) return fallback;
  const int value = integer(name, min, max);
  return status().ok() ? value : fallback;
}

double FieldReader::number_or(std::string_view name, double fallback, double min, double max) {
  if (!has(name)) return fallback;
  const double value = number(name, min, max);
  return status().ok() ? value : fallback;
}

bool FieldReader::boolean_or(std::string_view name, bool fallback) {
  if (!has(name)) return fallback;
  const bool value = boolean(name);
  return status().ok() ? value : fallback;
}

std::string FieldReader::string_or(std::string_view name, std::string_view fallback) {
  if (!has(name)) return std::string(fallback);
  std::string value = string(name);
  return status().ok() ? value : std::string(fallback);
}

std::vector<double> FieldReader::numbers_or_empty(std::string_view name) {
  const json* value = lookup(*object_, name);
  if (value == nullptr) return {};
  auto out = elements<double>(*value, [](const json& item) -> std::optional<double> {
    return item.is_number() ? std::optional(item.get<double>()) : std::nullopt;
  });
  if (!out) fail(name, not_value("must be an array of numbers", *value));
  return out.value_or(std::vector<double>());
}

std::vector<std::int64_t> FieldReader::integers_or_empty(std::string_view name) {
  const json* value = lookup(*object_, name);
  if (value == nullptr) return {};
  auto out = elements<std::int64_t>(*value, [](const json& item) -> std::optional<std::int64_t> {
    std::int64_t number = 0;
    return as_integer(item, &number) ? std::optional(number) : std::nullopt;
  });
  if (!out) fail(name, not_value("must be an array of integers", *value));
  return out.value_or(std::vector<std::int64_t>());
}

std::vector<std::string> FieldReader::strings_or_empty(std::string_view name) {
  const json* value = lookup(*object_, name);
  if (value == nullptr) return {};
  auto out = elements<std::string>(*value, [](const json& item) -> std::optional<std::string> {
    return item.is_string() ? std::optional(item.get<std::string>()) : std::nullopt;
  });
  if (!out) fail(name, not_value("must be an array of strings", *value));
  return out.value_or(std::vector<std::string>());
}

std::optional<FieldReader> FieldReader::object(std::string_view name) {
  const json* value = lookup(*object_, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    fail(name, not_value("must be an object", *value));
    return std::nullopt;
  }
  return FieldReader(*value, fmt::format("{}{}.", prefix_, name), shared_);
}

void FieldReader::fail(std::string_view name, std::string_view rule) {
  if (shared_->error) return;
  shared_->error =
      invalid(one_line(fmt::format("{}: {}{} {}", shared_->file, prefix_, name, rule)));
}

Status FieldReader::status() const { return shared_->error ? Status(*shared_->error) : Status(); }

}  // namespace tandem::config
