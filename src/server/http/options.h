#pragma once
// What an HttpServer is told, with every limit: name, unit, default.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tandem::server {

/// Everything that a client can make large or slow. What is over a limit gets the status named here
/// where an answer can still be given.
struct HttpLimits {
  std::size_t line_bytes = 8 << 10;      // request line (414)
  std::size_t head_bytes = 16 << 10;     // request line and fields (431)
  std::size_t fields = 100;              // fields of a head (431)
  std::size_t body_bytes = 32 << 20;     // body of a request (413)
  std::size_t bodies_bytes = 512 << 20;  // bodies being received, of all connections (503)
  std::size_t out_bytes = 1 << 20;       // written but not yet taken by one client; more: dropped
  std::size_t outs_bytes = 256 << 20;    // the same of all; then streams are dropped, bodies 503
  std::size_t ahead_bytes = 64 << 10;  // pipelined bytes read while an earlier request is answered
  int connections = 8192;              // open at once; the longest idle one makes room, else 503
  std::chrono::milliseconds head_time{10'000};  // from a head's first byte to its last (408)
  std::chrono::milliseconds body_time{10'000};  // for a body, and what body_rate adds (408)
  std::size_t body_rate = 4 << 10;              // bytes per second that extend body_time
  std::chrono::milliseconds idle_time{60'000};  // between requests of a connection; then closed
  std::chrono::milliseconds stall_time{
      30'000};  // a client takes no byte of its answer; then dropped
  std::chrono::milliseconds linger_time{5'000};  // reads on after a refusal, so that it arrives
};

/// PEM files. The certificate file holds the chain, the server's own first.
struct TlsFiles {
  std::filesystem::path certificate;
  std::filesystem::path private_key;
};

/// A request that was answered without the routes: a wrong key, a bad head, a limit.
struct Refusal {
  std::string id;    // the X-Request-Id of the answer
  std::string peer;  // address of the other end
  int status = 0;
  std::string message;
};

struct HttpOptions {
  std::string host = "127.0.0.1";  // name or address; every address of the name is listened on
  std::uint16_t port = 8080;       // 0: a free one
  /// A request must bring one of these, as `Authorization: Bearer KEY` or `x-api-key: KEY`. None:
  /// everybody on a loopback address may come in, and Host and Origin are checked instead.
  std::vector<std::string> keys;
  std::vector<std::string> open_paths = {"/health"};  // exact paths answered without a key
  bool insecure = false;  // listen beyond loopback although there are no keys
  std::optional<TlsFiles> tls;
  /// Web pages that may use the server besides its own: "https://host[:port]", or "*" for all,
  /// which needs keys.
  std::vector<std::string> origins;
  /// Names, besides localhost and IP addresses, that a request to a loopback server without keys
  /// may give as Host. Others are DNS rebinding: a web page that pretends to be this machine.
  std::vector<std::string> host_names;
  int threads = 2;
  HttpLimits limits;
  std::function<void(const Refusal&)> on_refusal;  // from a thread of the server; may be empty
};

}  // namespace tandem::server
