#pragma once
// Where an OpenAI-compatible server is.

#include <cstdint>
#include <string>
#include <string_view>

#include "tandem/error.h"

namespace tandem::client {

struct ServerUrl {
  bool tls = false;
  std::string host;  // a name or an address, IPv6 without brackets
  std::uint16_t port = 80;
  std::string base = "/v1";  // what every path begins with, no slash at its end

  /// "http://127.0.0.1:8080/v1"
  std::string text() const;
  /// The Host field: without the port where it is the scheme's own.
  std::string authority() const;
};

/// "http://host[:port][/base]" or https; a URL without a path means /v1. kInvalidArgument names the
/// rule. Pure.
Result<ServerUrl> parse_url(std::string_view text);

}  // namespace tandem::client
