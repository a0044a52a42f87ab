#include "server/api/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace tandem::server {
namespace {

/// Longest piece of a user's value that a message shows, bytes.
constexpr std::size_t kShownBytes = 100;

std::string shown(std::string_view text) {
  if (text.size() <= kShownBytes) return std::string(text);
  return fmt::format("{}...", text.substr(0, kShownBytes));
}

template <class T>
ApiError out_of_range(std::string param, std::string_view kind, T value, T min, T max) {
  const bool above = value > max;
  std::string message = fmt::format(
      "Invalid '{}': {} {} value. Expected a value {} {}, but got {} instead.", param, kind,
      above ? "above maximum" : "below minimum", above ? "<=" : ">=", above ? max : min, value);
  std::string code = fmt::format("{}_{}_value", kind, above ? "above_max" : "below_min");
  return {.message = std::move(message), .param = std::move(param), .code = std::move(code)};
}

}  // namespace

std::string_view kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_float:
      return "a decimal";
    default:
      return "an integer";
  }
}

Fields::Fields(const Json& object, std::string path)
    : Fields(object, std::move(path), std::make_shared<Shared>()) {}

Fields::Fields(const Json& object, std::string path, std::shared_ptr<Shared> shared)
    : object_(&object), path_(std::move(path)), error_(std::move(shared)) {
  if (object.is_object()) return;
  const std::string what = path_.empty() ? "the request body" : fmt::format("'{}'", path_);
  ApiError error{
      .message = fmt::format("Invalid type for {}: expected an object, but got {} instead.", what,
                             kind_of(object)),
      .code = "invalid_type"};
  if (!path_.empty()) error.param = path_;
  fail(std::move(error));
}

std::string Fields::path(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

bool Fields::failed() const { return error_->has_value(); }
const ApiError& Fields::error() const { return error_->value(); }

void Fields::fail(ApiError error) {
  if (!failed()) *error_ = std::move(error);
}

void Fields::wrong_type(std::string_view name, std::string_view wanted) {
  fail({.message = fmt::format("Invalid type for '{}': expected {}, but got {} instead.",
                               path(name), wanted, kind_of((*object_)[name])),
        .param = path(name),
        .code = "invalid_type"});
}

const Json* Fields::value(std::string_view name) {
  asked_.emplace(name);
  if (failed()) return nullptr;
  const auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

bool Fields::has(std::string_view name) { return value(name) != nullptr; }

std::optional<double> Fields::number(std::string_view name, double min, double max) {
  const Json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_number()) {
    wrong_type(name, "a decimal");
    return std::nullopt;
  }
  const double number = found->get<double>();
  if (number >= min && number <= max) return number;
  fail(out_of_range(path(name), "decimal", number, min, max));
  return std::nullopt;
}

std::optional<std::int64_t> Fields::integer(std::string_view name, std::int64_t min,
                                            std::int64_t max) {
  const Json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_number_integer()) {
    wrong_type(name, "an integer");
    return std::nullopt;
  }
  constexpr auto kLargest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const bool huge = found->is_number_unsigned() && found->get<std::uint64_t>() > kLargest;
  const auto number = huge ? std::numeric_limits<std::int64_t>::max() : found->get<std::int64_t>();
  if (!huge && number >= min && number <= max) return number;
  if (huge && max == std::numeric_limits<std::int64_t>::max()) {
    fail(
        invalid_value(path(name), fmt::format("Invalid '{}': integer above 64 bits.", path(name))));
  } else {
    fail(out_of_range(path(name), "integer", number, min, max));
  }
  return std::nullopt;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const Json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (found->is_boolean()) return found->get<bool>();
  wrong_type(name, "a boolean");
  return std::nullopt;
}

std::optional<std::string> Fields::string(std::string_view name) {
  const Json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  wrong_type(name, "a string");
  return std::nullopt;
}

std::optional<std::string> Fields::choice(std::string_view name,
                                          std::initializer_list<std::string_view> choices) {
  const auto text = string(name);
  if (!text || std::ranges::find(choices, *text) != choices.end()) return text;
  std::string list;
  for (const std::string_view choice : choices) {
    const bool last = choice == *(choices.end() - 1);
    list += fmt::format("{}'{}'", list.empty() ? "" : last ? " and " : ", ", choice);
  }
  fail(invalid_value(path(name), fmt::format("Invalid value: '{}'. Supported values are: {}.",
                                             shown(*text), list)));
  return std::nullopt;
}

const Json* Fields::array(std::string_view name, std::size_t max) {
  const Json* found = value(name);
  if (found == nullptr) return nullptr;
  if (!found->is_array()) {
    wrong_type(name, "an array");
    return nullptr;
  }
  if (found->size() <= max) return found;
  fail(
      {.message = fmt::format("Invalid '{}': array too long. Expected an array with maximum length "
                              "{}, but got an array with length {} instead.",
                              path(name), max, found->size()),
       .param = path(name),
       .code = "array_above_max_length"});
  return nullptr;
}

const Json* Fields::object(std::string_view name) {
  const Json* found = value(name);
  if (found == nullptr || found->is_object()) return found;
  wrong_type(name, "an object");
  return nullptr;
}

std::optional<Fields> Fields::nested(std::string_view name) {
  const Json* found = object(name);
  if (found == nullptr) return std::nullopt;
  return Fields(*found, path(name), error_);
}

Fields Fields::element(std::string_view name, std::size_t index, const Json& object) {
  return Fields(object, fmt::format("{}[{}]", path(name), index), error_);
}

void Fields::require(std::string_view name) {
  if (failed() || has(name)) return;
  fail({.message = fmt::format("Missing required parameter: '{}'.", path(name)),
        .param = path(name),
        .code = "missing_required_parameter"});
}

void Fields::refuse(std::string_view name, std::string_view why) {
  if (has(name)) fail(unsupported(path(name), why));
}

void Fields::skip(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) asked_.emplace(name);
}

void Fields::finish() {
  if (failed()) return;
  for (const auto& [name, ignored] : object_->items()) {
    if (asked_.contains(name)) continue;
    const std::string full = path(shown(name));
    fail({.message = fmt::format("Unknown parameter: '{}'.", full),
          .param = full,
          .code = "unknown_parameter"});
    return;
  }
}

}  // namespace tandem::server
