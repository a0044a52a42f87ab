#pragma once
// Errors as OpenAI's API words them.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "server/http/exchange.h"
#include "tandem/error.h"

namespace tandem::server {

/// {"error": {"message", "type", "param", "code"}} with an HTTP status. Clients choose the
/// exception by the status and show the message.
struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::optional<std::string> param = {};  // the field, e.g. "messages[0].role"
  std::optional<std::string> code = {};   // e.g. "invalid_value"
  int retry_after = 0;                    // seconds; 0: nothing to wait for
};

/// A value or an ApiError.
template <class T>
class [[nodiscard]] ApiResult {
 public:
  ApiResult(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  ApiResult(ApiError error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& operator*() { return std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const ApiError& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, ApiError> state_;
};

/// What the field's value breaks; code "invalid_value".
ApiError invalid_value(std::string param, std::string message);
/// A field that is known and cannot be had here; code "unsupported_parameter".
ApiError unsupported(std::string param, std::string_view why);
/// The prompt does not fit; code "context_length_exceeded".
ApiError context_exceeded(std::string param, std::string message);
/// Not now: 503, with seconds to wait.
ApiError unavailable(std::string message, int retry_after);
/// Too many requests wait: 429, code "rate_limit_exceeded".
ApiError too_many(std::string message, int retry_after);

/// What the engine, the text library or the pipeline says, as an answer. `param` names the field
/// that an invalid argument came from.
ApiError from_error(const Error& error, std::string param);

/// The error object, with line ends and control characters as JSON escapes them.
std::string error_body(const ApiError& error);
HttpResponse error_response(const ApiError& error);

}  // namespace tandem::server
