#pragma once
// The HTTP server: RFC 9110 and 9112 (HTTP/1.1 and 1.0) in front of a Handler, over plain TCP or
// TLS.

#include <cstdint>
#include <memory>
#include <string>

#include "server/http/exchange.h"
#include "server/http/options.h"
#include "tandem/deadline.h"
#include "tandem/error.h"

namespace tandem::server {

/// Figures since the start, for /metrics.
struct HttpCounters {
  std::int64_t connections = 0;       // open now
  std::int64_t connections_ever = 0;  // accepted
  std::int64_t requests = 0;          // handed to the handler
  std::int64_t refusals = 0;          // answered without it
  std::int64_t gone = 0;              // clients that left before their answer ended
  std::int64_t slow = 0;              // clients dropped because they read too slowly
  std::int64_t evicted = 0;           // waiting connections closed to make room for new ones
  std::int64_t bytes_in = 0;          // of requests, after TLS
  std::int64_t bytes_out = 0;         // of answers, before TLS
};

/// Listens from start() until stop(); the first requests may come before start() has returned. The
/// handler runs on the server's threads and must not block; requests of one connection reach it one
/// after another, each when the answer before it has ended.
///
/// What the handler need not care about: keys (see HttpOptions), Host and Origin, CORS preflights,
/// Expect: 100-continue, framing, limits, X-Request-Id, Date, HEAD (it reaches the handler as HEAD
/// with the path of a GET; whatever body is answered is left out), HTTP/1.0 (a body in pieces goes
/// unchunked until close). A client that closes its end, even only for writing, before its answer
/// has ended counts as gone. Refusals of this layer are {"error":{message,type,param,code}}.
///
/// All methods may be called from any thread, except stop(), which must not be called from the
/// handler or from a callback.
class HttpServer {
 public:
  /// kInvalidArgument: no key beyond loopback, a bad origin, a TLS file (named) that is missing or
  /// does not fit. kUnavailable: host:port (named) is in use or no address of this machine.
  static Result<std::unique_ptr<HttpServer>> start(HttpOptions options, Handler handler);
  /// stop() without any patience.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;
  /// "http://127.0.0.1:8080"; the host as a client of this machine would write it.
  std::string url() const;
  HttpCounters counters() const;

  /// From now on every request is answered 503 and its connection closed; answers already begun go
  /// on. Idle connections are closed at once.
  void drain();
  /// drain(), waits until no answer is under way or `deadline`, then closes everything and joins
  /// the threads. True when no answer was cut off.
  bool stop(Deadline deadline);

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::server
