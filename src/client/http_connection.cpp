#include "client/http_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <chrono>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

namespace tandem::client {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Parser = http::response_parser<http::buffer_body>;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

constexpr std::size_t kBlockBytes = 16U << 10;

template <class S>
class Connection final : public HttpConnection {
  static constexpr bool kTls = std::is_same_v<S, TlsStream>;

 public:
  Connection(asio::any_io_executor executor, const Server& server)
      : executor_(std::move(executor)), server_(&server) {}

  asio::awaitable<Result<HttpReply>> exchange(const HttpRequest& request, Deadline deadline,
                                              const OnBytes& on_bytes) override {
    error_code error;
    bool stale = false;
    do {
      const bool reused = stream_ != nullptr;
      if (!reused) co_await open(deadline, error);
      if (error) break;
      beast::get_lowest_layer(*stream_).expires_at(deadline);
      parser_ = std::make_unique<Parser>();
      co_await send(request, error);
      if (!error) co_await http::async_read_header(*stream_, buffer_, *parser_, into(error));
      // A server may close what it found idle just while the next request was on its way.
      stale = error && error != beast::error::timeout && reused && !parser_->got_some();
      if (stale) close();
    } while (stale);
    if (error) {
      close();
      co_return failure(error);
    }
    Result<HttpReply> reply = co_await read_body(on_bytes);
    if (!reply || !parser_->get().keep_alive()) close();
    co_return reply;
  }

 private:
  static auto into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

  asio::awaitable<void> open(Deadline deadline, error_code& error) {
    buffer_.clear();
    if constexpr (kTls) {
      stream_ = std::make_unique<S>(executor_, *server_->tls);
    } else {
      stream_ = std::make_unique<S>(executor_);
    }
    beast::tcp_stream& lowest = beast::get_lowest_layer(*stream_);
    lowest.expires_at(std::min(deadline, after(kConnectTime)));
    co_await lowest.async_connect(server_->endpoints, into(error));
    if (error) co_return;
    error_code ignored;
    lowest.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    if constexpr (kTls) {
      const std::string& host = server_->url.host;
      asio::ip::make_address(host, ignored);
      const bool name = ignored.failed();  // RFC 6066: addresses are not sent as names
      if (name) SSL_set_tlsext_host_name(stream_->native_handle(), host.c_str());
      stream_->set_verify_callback(asio::ssl::host_name_verification(host));
      co_await stream_->async_handshake(asio::ssl::stream_base::client, into(error));
    }
  }

  asio::awaitable<void> send(const HttpRequest& request, error_code& error) {
    const auto verb = request.body.empty() ? http::verb::get : http::verb::post;
    http::request<http::string_body> message(verb, server_->url.base + request.path, 11);
    message.set(http::field::host, server_->url.authority());
    message.set(http::field::user_agent, "tandem-bench");
    message.set(http::field::accept, "*/*");
    if (!server_->api_key.empty()) {
      message.set(http::field::authorization, "Bearer " + server_->api_key);
    }
    if (!request.body.empty()) {
      message.set(http::field::content_type, "application/json");
      message.body() = request.body;
    }
    message.prepare_payload();
    co_await http::async_write(*stream_, message, into(error));
  }

  asio::awaitable<Result<HttpReply>> read_body(const OnBytes& on_bytes) {
    HttpReply reply;
    reply.status = parser_->get().result_int();
    reply.type = parser_->get()[http::field::content_type];
    const bool streamed = reply.status == 200 && reply.type.starts_with("text/event-stream");
    // A stream is bounded by the exchange's deadline and is not kept.
    parser_->body_limit(streamed ? std::numeric_limits<std::uint64_t>::max() : kBodyBytesMax);
    while (!parser_->is_done()) {
      parser_->get().body().data = block_.data();
      parser_->get().body().size = block_.size();
      error_code error;
      co_await http::async_read_some(*stream_, buffer_, *parser_, into(error));
      if (error && error != http::error::need_buffer) co_return failure(error);
      const std::string_view bytes(block_.data(), block_.size() - parser_->get().body().size);
      if (!streamed) {
        reply.body += bytes;
      } else if (auto status = on_bytes(bytes); !status.ok()) {
        co_return status.error();
      }
    }
    co_return reply;
  }

  static Error failure(error_code error) {
    if (error == beast::error::timeout) {
      return Error{ErrorCode::kDeadlineExceeded, "the server does not answer in time"};
    }
    const bool cut = error == http::error::end_of_stream || error == http::error::partial_message;
    return Error{
        ErrorCode::kUnavailable,
        cut ? "the server closed the connection before its answer ended" : error.message()};
  }

  void close() {
    stream_.reset();
    buffer_.clear();
  }

  asio::any_io_executor executor_;
  const Server* server_;
  std::unique_ptr<S> stream_;       // null: not connected
  std::unique_ptr<Parser> parser_;  // of the answer under way
  beast::flat_buffer buffer_;
  std::array<char, kBlockBytes> block_{};
};

}  // namespace

std::unique_ptr<HttpConnection> make_connection(asio::any_io_executor executor,
                                                const Server& server) {
  if (server.tls) return std::make_unique<Connection<TlsStream>>(std::move(executor), server);
  return std::make_unique<Connection<beast::tcp_stream>>(std::move(executor), server);
}

}  // namespace tandem::client
