#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "server/http/stream.h"

namespace tandem::server {
namespace {

class TlsStream final : public Stream {
 public:
  TlsStream(asio::ip::tcp::socket socket, asio::ssl::context& context)
      : stream_(std::move(socket), context) {}

  asio::awaitable<void> open(error_code& error) override {
    co_await stream_.async_handshake(asio::ssl::stream_base::server,
                                     asio::redirect_error(asio::use_awaitable, error));
  }
  asio::awaitable<std::size_t> read(asio::mutable_buffer into, error_code& error) override {
    const std::size_t bytes =
        co_await stream_.async_read_some(into, asio::redirect_error(asio::use_awaitable, error));
    // A client that closes without TLS's goodbye has ended its request all the same: what it sent
    // has its own length.
    if (error == asio::ssl::error::stream_truncated) error = asio::error::eof;
    co_return bytes;
  }
  asio::awaitable<std::size_t> write(asio::const_buffer from, error_code& error) override {
    co_return co_await stream_.async_write_some(from,
                                                asio::redirect_error(asio::use_awaitable, error));
  }
  asio::awaitable<void> finish() override {
    error_code ignored;
    co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, ignored));
  }
  void close() override {
    error_code ignored;
    stream_.lowest_layer().close(ignored);
  }
  void reset() override {
    error_code ignored;
    stream_.lowest_layer().set_option(asio::socket_base::linger(true, 0), ignored);
    close();
  }

 private:
  asio::ssl::stream<asio::ip::tcp::socket> stream_;
};

}  // namespace

std::unique_ptr<Stream> make_tls_stream(asio::ip::tcp::socket socket, asio::ssl::context& context) {
  return std::make_unique<TlsStream>(std::move(socket), context);
}

}  // namespace tandem::server
