#include "server/http/refusal.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace tandem::server {
namespace {

std::string_view type_of(int status) {
  if (status == 503) return "service_unavailable_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

}  // namespace

Refused not_now(std::string message, int seconds) {
  return {
      503, std::move(message), "service_unavailable", {{"Retry-After", std::to_string(seconds)}}};
}

HttpResponse answer_of(const Refused& refused) {
  nlohmann::ordered_json error;
  error["message"] = refused.message;
  error["type"] = type_of(refused.status);
  error["param"] = nullptr;
  error["code"] = nullptr;
  if (!refused.code.empty()) error["code"] = refused.code;
  HttpResponse response;
  response.status = refused.status;
  response.body = nlohmann::ordered_json{{"error", std::move(error)}}.dump() + "\n";
  response.headers = refused.headers;
  return response;
}

}  // namespace tandem::server
