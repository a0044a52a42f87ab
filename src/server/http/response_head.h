#pragma once
// The bytes in front of an answer's body.

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "server/http/exchange.h"

namespace tandem::server {

/// What an answer must know of its request.
struct AnswerStyle {
  std::string id;                    // sent as X-Request-Id
  bool http10 = false;               // no chunks: a body in pieces ends with the connection
  bool head_only = false;            // HEAD: no body
  bool keep_alive = true;            // another request may follow
  std::vector<Header> headers = {};  // for every answer (CORS)
};

/// A status line and headers. body_bytes: of a whole body; nullopt: the body comes in pieces.
/// Control characters in header values become spaces.
std::string response_head(const HttpResponse& response, const AnswerStyle& style,
                          std::optional<std::uint64_t> body_bytes, std::time_t now);

/// Whether an answer of this status has a body at all.
bool has_body(int status);

}  // namespace tandem::server
