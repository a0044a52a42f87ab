#pragma once
// JSON that a client's JSON.parse takes: arguments of earlier calls, as models wrote them.

#include <optional>
#include <string_view>

#include "server/api/fields.h"

namespace tandem::server {

/// The object in `text`, with its members in order: of a key that stands there twice the last value
/// counts, half a surrogate pair is U+FFFD, and blanks or null are an object without members.
/// nullopt: `text` is something else.
std::optional<Json> read_lenient_object(std::string_view text);

}  // namespace tandem::server
