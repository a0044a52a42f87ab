#include "server/http/refusal.h"

#include <nlohmann/json.hpp>

namespace tandem::server {

HttpResponse answer_of(const Refused& refused) {
  nlohmann::ordered_json error;
  error["message"] = refused.message;
  error["type"] = refused.status >= 500 ? "server_error" : "invalid_request_error";
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
