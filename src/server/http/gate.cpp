#include "server/http/gate.h"

#include <algorithm>

namespace tandem::server {
namespace {

bool visible(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

// The host of "host", "host:port" or "[address]:port".
std::string_view without_port(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

bool is_address(std::string_view host) {
  if (host.starts_with('[')) return true;
  const bool dotted = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return dotted && std::ranges::count(host, '.') == 3;
}

bool is_origin(std::string_view text) {
  const std::size_t end = text.find("://");
  if (end == std::string_view::npos || end == 0) return false;
  const std::string_view host = text.substr(end + 3);
  return visible(text) && !host.empty() && host.find_first_of("/?#@*") == std::string_view::npos;
}

HttpResponse no_content(std::vector<Header> headers) {
  HttpResponse response;
  response.status = 204;
  response.content_type.clear();
  response.headers = std::move(headers);
  return response;
}

Refused forbidden_origin() {
  return {403, "web pages of this origin may not use the server", "forbidden_origin"};
}

constexpr const char* kMethods = "GET, HEAD, POST, DELETE, OPTIONS";

Status check_limits(const HttpLimits& limits) {
  const bool sizes = limits.line_bytes > 0 && limits.head_bytes > 0 && limits.fields > 0 &&
                     limits.body_bytes > 0 && limits.bodies_bytes > 0 && limits.out_bytes > 0 &&
                     limits.outs_bytes > 0 && limits.ahead_bytes > 0 && limits.body_rate > 0;
  const auto zero = std::chrono::milliseconds(0);
  const bool times = limits.head_time > zero && limits.body_time > zero &&
                     limits.idle_time > zero && limits.stall_time > zero;
  if (!sizes || !times || limits.connections < 1 || limits.linger_time < zero) {
    return invalid("every limit of the HTTP server must be 1 or more");
  }
  return {};
}

}  // namespace

Status check_options(const HttpOptions& options) {
  if (!std::ranges::all_of(options.keys, visible)) {
    return invalid("an API key must be one or more visible ASCII characters");
  }
  for (const std::string& origin : options.origins) {
    if (origin == "*" && options.keys.empty()) {
      return invalid("the origin * lets every web page use the server: it needs API keys");
    }
    if (origin != "*" && !is_origin(origin)) {
      return invalid("the origin must be like https://host or https://host:port, or *");
    }
  }
  if (options.threads < 1) return invalid("the HTTP server needs 1 thread or more");
  return check_limits(options.limits);
}

Gate::Gate(const HttpOptions& options, bool loopback)
    : keys_(options.keys),
      open_paths_(options.open_paths),
      origins_(options.origins),
      host_names_(options.host_names),
      loopback_(loopback) {}

bool Gate::allowed_origin(std::string_view origin) const {
  return std::ranges::any_of(origins_, [&](const std::string& allowed) {
    return allowed == "*" || same_token(allowed, origin);
  });
}

std::optional<Refused> Gate::check_page(const RequestHead& head) const {
  if (!keys_.empty()) return std::nullopt;
  const std::string* named = head.header("host");
  const std::string_view host = named == nullptr ? std::string_view() : std::string_view(*named);
  const std::string_view name = without_port(host);
  const auto same = [&](const std::string& allowed) { return same_token(allowed, name); };
  const bool known = named == nullptr || is_address(name) || same_token(name, "localhost") ||
                     std::ranges::any_of(host_names_, same);
  if (loopback_ && !known) {
    return Refused{403,
                   "the Host header names another machine; this server without API keys "
                   "answers to localhost and IP addresses only",
                   "forbidden_host"};
  }
  const std::string* origin = head.header("origin");
  if (origin == nullptr || allowed_origin(*origin)) return std::nullopt;
  const std::size_t scheme = origin->find("://");
  const bool own =
      scheme != std::string::npos && same_token(std::string_view(*origin).substr(scheme + 3), host);
  if (own) return std::nullopt;
  return forbidden_origin();
}

std::optional<Gate::Verdict> Gate::preflight(const RequestHead& head) const {
  if (head.method != "OPTIONS") return std::nullopt;
  if (head.path == "*") return Verdict{{}, no_content({{"Allow", kMethods}})};
  const std::string* origin = head.header("origin");
  if (origin == nullptr || head.header("access-control-request-method") == nullptr) {
    return std::nullopt;
  }
  if (!allowed_origin(*origin)) return Verdict{forbidden_origin()};
  auto headers = cors_headers(head);
  headers.push_back({"Access-Control-Allow-Methods", kMethods});
  // The key decides, not the names of headers; SDKs send many of their own.
  if (const std::string* wanted = head.header("access-control-request-headers")) {
    headers.push_back({"Access-Control-Allow-Headers", *wanted});
  }
  if (head.header("access-control-request-private-network") != nullptr) {
    headers.push_back({"Access-Control-Allow-Private-Network", "true"});
  }
  headers.push_back({"Access-Control-Max-Age", "600"});
  return Verdict{{}, no_content(std::move(headers))};
}

Gate::Verdict Gate::check(const RequestHead& head) const {
  if (auto refused = check_page(head)) return {*refused};
  if (auto verdict = preflight(head)) return *verdict;
  if (keys_.empty() || std::ranges::find(open_paths_, head.path) != open_paths_.end()) return {};
  const auto key = key_of(head);
  const int found = keys_.find(key.value_or(""));
  if (key && found >= 0) return {{}, {}, found};
  const char* message = key ? "the API key is wrong"
                            : "this server needs an API key: send the header "
                              "'Authorization: Bearer KEY'";
  return {Refused{401, message, "invalid_api_key", {{"WWW-Authenticate", "Bearer"}}}};
}

std::vector<Header> Gate::cors_headers(const RequestHead& head) const {
  const std::string* origin = head.header("origin");
  if (origin == nullptr || !allowed_origin(*origin)) return {};
  return {{"Access-Control-Allow-Origin", *origin},
          {"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"},
          {"Vary", "Origin"}};
}

}  // namespace tandem::server
