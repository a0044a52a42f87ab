#pragma once
// The conversation of a chat request, as chat templates want it.

#include <optional>
#include <string>

#include "server/api/fields.h"
#include "server/api/request_rules.h"

namespace tandem::server {

struct Messages {
  /// A JSON list for text::ChatTemplate: content is a string, "developer" is "system", arguments of
  /// tool calls are objects (the convention that templates of transformers are written for).
  std::string json;
  bool ends_with_assistant = false;
};

/// Reads "messages". Parts other than text, unknown roles and unknown fields are errors.
Messages read_messages(Fields& fields, const RequestLimits& limits);

}  // namespace tandem::server
