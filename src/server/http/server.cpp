#include "server/http/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "server/http/connection.h"
#include "server/http/descriptors.h"
#include "server/http/gate.h"
#include "server/http/listener.h"
#include "server/http/server_state.h"
#include "server/http/tls_context.h"

namespace tandem::server {
namespace {

// Descriptors for the rest of the process: models, links to ranks, logs.
constexpr long kOtherDescriptors = 64;
// For answers that are complete to reach their clients, and for closed connections to end.
constexpr std::chrono::milliseconds kGoodbyeTime{500};
constexpr std::chrono::seconds kCloseTime{5};

// The host as a client of this machine would write it.
std::string written_host(const std::string& host) {
  if (host == "0.0.0.0") return "127.0.0.1";
  if (host == "::" || host == "[::]") return "[::1]";
  const bool bare_v6 = host.find(':') != std::string::npos && host.front() != '[';
  return bare_v6 ? "[" + host + "]" : host;
}

}  // namespace

struct HttpServer::Impl {
  Impl(const HttpOptions& options, Listening found, Handler handler)
      : state(options, found.loopback, std::move(handler)), listening(std::move(found)) {}

  void run(std::unique_ptr<asio::io_context> given, std::size_t connections_max);
  void stop_accepting(Deadline deadline);

  // Declared first, destroyed last: sockets and coroutines belong to it.
  std::unique_ptr<asio::io_context> context;
  ServerState state;
  Listening listening;
  std::vector<std::thread> threads;
  std::mutex stopping;
  bool stopped = false;
};

void HttpServer::Impl::run(std::unique_ptr<asio::io_context> given, std::size_t connections_max) {
  context = std::move(given);
  for (auto& acceptor : listening.acceptors) {
    asio::co_spawn(acceptor.get_executor(), accept_all(acceptor, *context, state, connections_max),
                   asio::detached);
  }
  for (int i = 0; i < state.options.threads; ++i) {
    threads.emplace_back([this] { context->run(); });
  }
}

void HttpServer::Impl::stop_accepting(Deadline deadline) {
  for (auto& acceptor : listening.acceptors) {
    const auto done = std::make_shared<std::promise<void>>();
    asio::post(acceptor.get_executor(), [&acceptor, done] {
      error_code ignored;
      acceptor.close(ignored);
      done->set_value();
    });
    done->get_future().wait_until(deadline);
  }
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options, Handler handler) {
  if (auto good = check_options(options); !good) return good.error();
  std::unique_ptr<asio::ssl::context> tls;
  if (options.tls) {
    auto made = make_tls_context(*options.tls);
    if (!made) return made.error();
    tls = std::move(*made);
  }
  auto context = std::make_unique<asio::io_context>(options.threads);
  auto listening = listen_on(*context, options.host, options.port);
  if (!listening) return listening.error();
  if (!listening->loopback && options.keys.empty() && !options.insecure) {
    return invalid(options.host +
                   ": other machines reach this address, so the server needs an API "
                   "key, or must be told that it is insecure");
  }
  const long descriptors =
      raise_descriptor_limit(options.limits.connections + kOtherDescriptors) - kOtherDescriptors;
  const long most = std::clamp<long>(descriptors, 1, options.limits.connections);
  auto impl = std::make_unique<Impl>(options, std::move(*listening), std::move(handler));
  impl->state.tls = std::move(tls);
  impl->run(std::move(context), static_cast<std::size_t>(most));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { stop(Clock::now()); }

std::uint16_t HttpServer::port() const { return impl_->listening.port; }

std::string HttpServer::url() const {
  const char* scheme = impl_->state.options.tls ? "https" : "http";
  return fmt::format("{}://{}:{}", scheme, written_host(impl_->state.options.host), port());
}

HttpCounters HttpServer::counters() const {
  const Counters& now = impl_->state.counters;
  HttpCounters counters;
  counters.connections = static_cast<std::int64_t>(impl_->state.connections.size());
  counters.connections_ever = now.connections_ever;
  counters.requests = now.requests;
  counters.refusals = now.refusals;
  counters.gone = now.gone;
  counters.slow = now.slow;
  counters.evicted = now.evicted;
  counters.bytes_in = now.bytes_in;
  counters.bytes_out = now.bytes_out;
  return counters;
}

void HttpServer::drain() {
  impl_->state.draining = true;
  impl_->state.connections.for_each([](Connection& connection) { connection.close_if_idle(); });
}

bool HttpServer::stop(Deadline deadline) {
  const std::lock_guard lock(impl_->stopping);
  if (impl_->stopped) return true;
  impl_->stopped = true;
  drain();
  ServerState& state = impl_->state;
  const bool finished = state.answers.wait_until_none(deadline);
  if (finished) state.connections.wait_until_empty(std::min(deadline, after(kGoodbyeTime)));
  const Deadline closed = after(kCloseTime);
  impl_->stop_accepting(closed);
  do {
    state.connections.for_each([](Connection& connection) { connection.close(); });
  } while (!state.connections.wait_until_empty(after(std::chrono::milliseconds(20))) &&
           Clock::now() < closed);
  impl_->context->stop();
  for (auto& thread : impl_->threads) thread.join();
  return finished;
}

}  // namespace tandem::server
