#pragma once
// Who may come in: decided from the head alone, before a byte of the body is read.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/api_keys.h"
#include "server/http/exchange.h"
#include "server/http/head_check.h"
#include "server/http/options.h"
#include "tandem/error.h"

namespace tandem::server {

/// kInvalidArgument that names the option: an empty or unprintable key, a bad origin, "*" without
/// keys, a limit or a number of threads below 1.
Status check_options(const HttpOptions& options);

/// Immutable, so any thread may ask.
///
/// Without keys a web page could drive the server through its visitor's browser. So then the Origin
/// that a browser sends must be the server's own or one of options.origins, and on a loopback
/// address the Host must be localhost, an IP address or one of options.host_names: a page under
/// another name has had that name resolve to this machine (DNS rebinding). With keys, the key is
/// proof enough.
class Gate {
 public:
  /// loopback: no other machine can reach the server.
  Gate(const HttpOptions& options, bool loopback);

  struct Verdict {
    std::optional<Refused> refused = {};
    std::optional<HttpResponse> answer = {};  // instead of the routes'
    int key = -1;                             // which key opened
  };
  Verdict check(const RequestHead& head) const;

  /// What lets a page of an allowed origin read the answer; none for other requests.
  std::vector<Header> cors_headers(const RequestHead& head) const;

 private:
  bool allowed_origin(std::string_view origin) const;
  std::optional<Refused> check_page(const RequestHead& head) const;
  std::optional<Verdict> preflight(const RequestHead& head) const;

  ApiKeys keys_;
  std::vector<std::string> open_paths_;
  std::vector<std::string> origins_;
  std::vector<std::string> host_names_;
  bool loopback_;
};

}  // namespace tandem::server
