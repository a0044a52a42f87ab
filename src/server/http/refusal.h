#pragma once
// What this layer answers by itself, in the shape of OpenAI's errors.

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/http/exchange.h"

namespace tandem::server {

/// Why a request does not reach the routes. After one the connection is closed, because the bytes
/// that follow cannot be trusted or will not be read.
struct Refused {
  int status = 400;
  std::string message;               // for people; never quotes what the client sent
  std::string code = {};             // OpenAI's `code`; empty: null
  std::vector<Header> headers = {};  // further ones of the answer
};

/// 503: nothing is wrong with the request; it may come again after `seconds`.
Refused not_now(std::string message, int seconds);

/// A value, or why the request is refused.
template <class T>
using Checked = std::variant<T, Refused>;

/// {"error":{"message","type","param":null,"code"}} with the refusal's status and headers.
HttpResponse answer_of(const Refused& refused);

}  // namespace tandem::server
