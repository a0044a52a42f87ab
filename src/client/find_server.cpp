#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "base/bounded_call.h"
#include "client/http_connection.h"

namespace tandem::client {
namespace {

using boost::system::error_code;

/// Patience with name servers.
constexpr std::chrono::seconds kResolveTime{10};

using Endpoints = std::vector<asio::ip::tcp::endpoint>;

Result<Endpoints> resolve(const ServerUrl& url) {
  const std::string port = std::to_string(url.port);
  const auto found = within(kResolveTime, [host = url.host, port] {
    asio::io_context io;
    asio::ip::tcp::resolver resolver(io);
    error_code error;
    Endpoints endpoints;
    for (const auto& entry : resolver.resolve(host, port, error)) {
      endpoints.push_back(entry.endpoint());
    }
    return endpoints;
  });
  if (!found) return Error{ErrorCode::kDeadlineExceeded, url.host + ": no name server answers"};
  if (found->empty()) return Error{ErrorCode::kUnavailable, url.host + ": no such host"};
  return *found;
}

Result<std::shared_ptr<asio::ssl::context>> verifying_context(const std::string& ca_file) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  error_code error;
  context->set_verify_mode(asio::ssl::verify_peer, error);
  if (!error && ca_file.empty()) context->set_default_verify_paths(error);
  if (!error && !ca_file.empty()) context->load_verify_file(ca_file, error);
  if (error) return invalid(fmt::format("{}: {}", ca_file, error.message()));
  return context;
}

}  // namespace

Result<Server> find_server(const ServerUrl& url, std::string api_key, const std::string& ca_file) {
  Server server;
  server.url = url;
  server.api_key = std::move(api_key);
  if (url.tls) {
    auto context = verifying_context(ca_file);
    if (!context) return context.error();
    server.tls = std::move(*context);
  }
  auto endpoints = resolve(url);
  if (!endpoints) return endpoints.error();
  server.endpoints = std::move(*endpoints);
  return server;
}

}  // namespace tandem::client
