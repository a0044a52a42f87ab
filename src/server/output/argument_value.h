#pragma once
// Arguments that a model writes as plain text, as JSON values.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tandem::server {

/// The JSON types that a schema allows, a set of bits.
using JsonTypes = unsigned;
inline constexpr JsonTypes kStringType = 1;
inline constexpr JsonTypes kNumberType = 2;  // integer too
inline constexpr JsonTypes kBooleanType = 4;
inline constexpr JsonTypes kNullType = 8;
inline constexpr JsonTypes kObjectType = 16;
inline constexpr JsonTypes kArrayType = 32;
inline constexpr JsonTypes kAnyType = 63;

/// The types that `parameters`, a function's JSON schema, allows for an argument, by its type,
/// enum, const, anyOf, oneOf, allOf and local $ref; any type when it does not say.
JsonTypes argument_types(const nlohmann::ordered_json& parameters, std::string_view name);

/// The value as JSON text: the text itself where it is JSON (or Python's True, False or None) of an
/// allowed type, else a string.
std::string json_argument(std::string_view text, JsonTypes types);

/// Appends text to the inside of a JSON string.
void append_escaped(std::string& out, std::string_view text);

}  // namespace tandem::server
