#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "server/http/stream.h"

namespace tandem::server {
namespace {

class PlainStream final : public Stream {
 public:
  explicit PlainStream(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<void> open(error_code& error) override {
    error = {};
    co_return;
  }
  asio::awaitable<std::size_t> read(asio::mutable_buffer into, error_code& error) override {
    co_return co_await socket_.async_read_some(into,
                                               asio::redirect_error(asio::use_awaitable, error));
  }
  asio::awaitable<std::size_t> write(asio::const_buffer from, error_code& error) override {
    co_return co_await socket_.async_write_some(from,
                                                asio::redirect_error(asio::use_awaitable, error));
  }
  asio::awaitable<void> finish() override {
    error_code ignored;
    socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    co_return;
  }
  void close() override {
    error_code ignored;
    socket_.close(ignored);
  }
  void reset() override {
    error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    close();
  }

 private:
  asio::ip::tcp::socket socket_;
};

}  // namespace

std::unique_ptr<Stream> make_plain_stream(asio::ip::tcp::socket socket) {
  return std::make_unique<PlainStream>(std::move(socket));
}

}  // namespace tandem::server
