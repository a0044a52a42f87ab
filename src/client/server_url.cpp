#include "client/server_url.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/hosts.h"

namespace tandem::client {
namespace {

constexpr std::string_view kPlain = "http://";
constexpr std::string_view kTls = "https://";
constexpr std::uint16_t kPlainPort = 80;
constexpr std::uint16_t kTlsPort = 443;

/// A colon behind whatever is in brackets.
bool has_port(std::string_view authority) {
  const std::size_t bracket = authority.rfind(']');
  const std::size_t colon = authority.rfind(':');
  return colon != authority.npos && (bracket == authority.npos || colon > bracket);
}

bool is_path_character(char c) {
  return c > ' ' && c <= '~' && std::string_view("\"#<>?\\^`{|}").find(c) == std::string_view::npos;
}

bool is_host_character(char c) { return c > ' ' && c <= '~' && c != '@' && c != '/'; }

Error bad_url(std::string_view why) {
  return invalid(fmt::format("must be http://HOST[:PORT][/PATH] or https://…: {}", why));
}

}  // namespace

std::string ServerUrl::authority() const {
  const std::string name = host.find(':') == host.npos ? host : "[" + host + "]";
  return port == (tls ? kTlsPort : kPlainPort) ? name : fmt::format("{}:{}", name, port);
}

std::string ServerUrl::text() const {
  return fmt::format("{}{}{}", tls ? kTls : kPlain, authority(), base);
}

Result<ServerUrl> parse_url(std::string_view text) {
  ServerUrl url;
  url.tls = text.starts_with(kTls);
  if (!url.tls && !text.starts_with(kPlain)) return bad_url("the scheme is missing");
  text.remove_prefix(url.tls ? kTls.size() : kPlain.size());
  const std::size_t slash = std::min(text.find('/'), text.size());
  std::string authority(text.substr(0, slash));
  if (!std::ranges::all_of(authority, is_host_character)) {
    return bad_url("a host has no such characters");
  }
  if (!has_port(authority)) authority += fmt::format(":{}", url.tls ? kTlsPort : kPlainPort);
  auto host = config::parse_host(authority);
  if (!host) return bad_url(host.error().message);
  url.host = host->name;
  url.port = host->port;
  std::string_view path = text.substr(slash);
  if (!std::ranges::all_of(path, is_path_character)) {
    return bad_url("a path has no such characters");
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  if (!path.empty()) url.base = path;
  return url;
}

}  // namespace tandem::client
