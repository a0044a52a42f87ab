#include "server/api/api_error.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace tandem::server {
namespace {

using nlohmann::ordered_json;

ordered_json text_or_null(const std::optional<std::string>& text) {
  return text ? ordered_json(*text) : ordered_json(nullptr);
}

}  // namespace

ApiError invalid_value(std::string param, std::string message) {
  return {.message = std::move(message), .param = std::move(param), .code = "invalid_value"};
}

ApiError unsupported(std::string param, std::string_view why) {
  std::string message = fmt::format("Unsupported parameter: '{}': {}", param, why);
  return {
      .message = std::move(message), .param = std::move(param), .code = "unsupported_parameter"};
}

ApiError context_exceeded(std::string param, std::string message) {
  return {
      .message = std::move(message), .param = std::move(param), .code = "context_length_exceeded"};
}

ApiError unavailable(std::string message, int retry_after) {
  return {.status = 503,
          .message = std::move(message),
          .type = "service_unavailable_error",
          .param = {},
          .code = "service_unavailable",
          .retry_after = retry_after};
}

ApiError too_many(std::string message, int retry_after) {
  return {.status = 429,
          .message = std::move(message),
          .type = "rate_limit_error",
          .param = {},
          .code = "rate_limit_exceeded",
          .retry_after = retry_after};
}

ApiError from_error(const Error& error, std::string param) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kResourceLimit:
      return invalid_value(std::move(param), error.message);
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kCancelled:
      return unavailable(error.message, 5);
    case ErrorCode::kNotFound:
    case ErrorCode::kInternal:
      break;
  }
  return {.status = 500,
          .message = error.message,
          .type = "server_error",
          .param = {},
          .code = "internal_error"};
}

std::string error_body(const ApiError& error) {
  const ordered_json body = {{"error",
                              {{"message", error.message},
                               {"type", error.type},
                               {"param", text_or_null(error.param)},
                               {"code", text_or_null(error.code)}}}};
  return body.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

HttpResponse error_response(const ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body = error_body(error);
  if (error.retry_after > 0) {
    response.headers.push_back({"Retry-After", std::to_string(error.retry_after)});
  }
  return response;
}

}  // namespace tandem::server
