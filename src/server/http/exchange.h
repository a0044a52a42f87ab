#pragma once
// One HTTP request and the place for its answer: all that the routes see of the network.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tandem::server {

struct Header {
  std::string name;
  std::string value;
};

/// A request that was read whole, within every limit, and whose key was right.
struct HttpRequest {
  std::string id;      // unique in the process; logged, and sent back as X-Request-Id
  std::string method;  // "GET", "POST", ...
  std::string path;    // percent-decoded, begins with '/', without the query
  std::string query;   // what follows '?', not decoded
  std::vector<Header> headers;
  std::string body;
  std::string peer;  // address of the other end, for logs
  int key = -1;      // which of the server's keys opened it; -1: it has none

  /// The first header of that name, in any case; null when there is none.
  const std::string* header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<Header> headers;  // further ones
};

/// Where a request's answer goes: send(), or begin() + write()… + end(). Shared between the
/// connection and whoever makes the answer; every call may come from any thread and none blocks.
/// Dropping the last reference without an answer sends a 500.
class Responder {
 public:
  virtual ~Responder() = default;

  /// The whole answer.
  virtual void send(HttpResponse response) = 0;
  /// The head of an answer whose body comes in pieces, sent chunked; response.body is the first.
  virtual void begin(HttpResponse response) = 0;
  /// A further piece. False when it can no longer arrive: the client went away, or it reads so
  /// slowly that the connection's buffer (a stated limit) is full and it was dropped.
  virtual bool write(std::string piece) = 0;
  virtual void end() = 0;

  /// True once the client is gone.
  virtual bool closed() const = 0;
  /// Calls `gone` once, from a thread of the server, when the client goes away before the answer
  /// ended; at once if it is gone already. One callback: a later one replaces it.
  virtual void on_close(std::function<void()> gone) = 0;
};

/// Called on a thread of the server for each request; must not block. What it needs longer than
/// the call it copies or moves.
using Handler = std::function<void(HttpRequest, std::shared_ptr<Responder>)>;

}  // namespace tandem::server
