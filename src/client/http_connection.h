#pragma once
// HTTP/1.1 towards one server, by Boost.Beast, in the clear or under TLS.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/server_url.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::client {

namespace asio = boost::asio;

/// Largest body of an answer that is kept whole, bytes.
inline constexpr std::size_t kBodyBytesMax = 4U << 20;
/// How long a connection may take to open, name resolution apart.
inline constexpr std::chrono::seconds kConnectTime{10};

/// A server whose name is resolved.
struct Server {
  ServerUrl url;
  std::vector<asio::ip::tcp::endpoint> endpoints;  // tried in order
  std::string api_key;                             // sent as a bearer token; empty: none
  std::shared_ptr<asio::ssl::context> tls;         // with https; verifies the server
};

/// Resolves the name, which has a deadline of its own, and reads the certificates of `ca_file`
/// (empty: the system's). kUnavailable: no such host; kInvalidArgument: a bad file.
Result<Server> find_server(const ServerUrl& url, std::string api_key, const std::string& ca_file);

struct HttpRequest {
  std::string path;  // below the server's base
  std::string body;  // JSON, sent by POST; empty: a GET
};

struct HttpReply {
  int status = 0;
  std::string type;  // Content-Type
  std::string body;  // unless it was streamed; at most kBodyBytesMax
};

/// One connection, opened with the first request and again whenever the server has closed it. Used
/// by one coroutine at a time, on the executor it was made with.
class HttpConnection {
 public:
  virtual ~HttpConnection() = default;

  /// Takes pieces of a streamed body; an error ends the exchange.
  using OnBytes = std::function<Status(std::string_view)>;
  /// Sends a request and reads the answer, all of it by `deadline`. The body of a 200 of type
  /// text/event-stream goes to `on_bytes`. kUnavailable: no connection, or it broke;
  /// kDeadlineExceeded. After an error the connection is closed.
  virtual asio::awaitable<Result<HttpReply>> exchange(const HttpRequest& request, Deadline deadline,
                                                      const OnBytes& on_bytes) = 0;
};

/// `server` outlives the connection.
std::unique_ptr<HttpConnection> make_connection(asio::any_io_executor executor,
                                                const Server& server);

}  // namespace tandem::client
