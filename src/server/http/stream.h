#pragma once
// A connected socket, in the clear or under TLS.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <memory>

namespace tandem::server {

namespace asio = boost::asio;
using boost::system::error_code;

/// Of one connection; used on its strand only. One read and one write may be under way at a time.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Whatever must happen before the first byte.
  virtual asio::awaitable<void> open(error_code& error) = 0;
  virtual asio::awaitable<std::size_t> read(asio::mutable_buffer into, error_code& error) = 0;
  /// Writes some of `from`.
  virtual asio::awaitable<std::size_t> write(asio::const_buffer from, error_code& error) = 0;
  /// Tells the other end that nothing more will come; it can still send.
  virtual asio::awaitable<void> finish() = 0;
  /// Ends everything under way with an error.
  virtual void close() = 0;
  /// close() that also throws away what the system still holds for a client that does not take it.
  virtual void reset() = 0;
};

std::unique_ptr<Stream> make_plain_stream(asio::ip::tcp::socket socket);
/// context: outlives the stream.
std::unique_ptr<Stream> make_tls_stream(asio::ip::tcp::socket socket, asio::ssl::context& context);

}  // namespace tandem::server
