#include "server/http/listener.h"

#include <fmt/format.h>

#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <chrono>
#include <set>
#include <utility>

#include "server/http/connection.h"

namespace tandem::server {
namespace {

using Tcp = asio::ip::tcp;

// How long to wait for a descriptor to come free; in between nothing is accepted.
constexpr std::chrono::milliseconds kAcceptPause{20};

// A connection that has just come is not closed for another before it could send its request.
constexpr std::chrono::milliseconds kUndisturbed{500};

Error unavailable(const std::string& host, std::uint16_t port, const error_code& why) {
  return {ErrorCode::kUnavailable,
          fmt::format("cannot listen on {}:{}: {}", host, port, why.message())};
}

// Only what belongs to no address family of this machine may be passed over.
bool is_absent(const error_code& error) {
  return error == asio::error::address_family_not_supported ||
         error == boost::system::errc::address_not_available;
}

error_code bind_one(Tcp::acceptor& acceptor, const Tcp::endpoint& endpoint, bool only_v6) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (error) return error;
  acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(only_v6), error);
  acceptor.bind(endpoint, error);
  if (error) return error;
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  return error;
}

std::string without_brackets(const std::string& host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

bool no_descriptors(const error_code& error) {
  const int value = error.value();
  return value == EMFILE || value == ENFILE || value == ENOBUFS || value == ENOMEM;
}

// False when there is no connection to close.
bool make_room(ServerState& state) {
  const auto longest = state.connections.longest_waiting(Clock::now() - kUndisturbed);
  if (longest) longest->evict();
  return longest != nullptr;
}

std::string peer_of(const Tcp::socket& socket) {
  error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return "";
  const std::string address = endpoint.address().to_string();
  if (endpoint.address().is_v4()) return fmt::format("{}:{}", address, endpoint.port());
  return fmt::format("[{}]:{}", address, endpoint.port());
}

}  // namespace

Result<Listening> listen_on(asio::io_context& context, const std::string& host,
                            std::uint16_t port) {
  Tcp::resolver resolver(context);
  error_code error;
  const auto found =
      resolver.resolve(without_brackets(host), std::to_string(port), Tcp::resolver::passive, error);
  if (error) return unavailable(host, port, error);
  Listening listening;
  listening.port = port;
  listening.loopback = true;
  std::set<asio::ip::address> addresses;
  for (const auto& entry : found) addresses.insert(entry.endpoint().address());
  for (const auto& address : addresses) {
    // One free port for all addresses of the name.
    const Tcp::endpoint endpoint(address, listening.port);
    Tcp::acceptor acceptor(asio::make_strand(context));
    error = bind_one(acceptor, endpoint, addresses.size() > 1);
    if (is_absent(error)) continue;
    if (error) return unavailable(host, port, error);
    listening.port = acceptor.local_endpoint().port();
    listening.loopback = listening.loopback && endpoint.address().is_loopback();
    listening.acceptors.push_back(std::move(acceptor));
  }
  if (listening.acceptors.empty()) return unavailable(host, port, error);
  return listening;
}

asio::awaitable<void> accept_all(Tcp::acceptor& acceptor, asio::io_context& context,
                                 ServerState& state, std::size_t connections_max) {
  asio::steady_timer pause(acceptor.get_executor());
  for (;;) {
    error_code error;
    Tcp::socket socket(asio::make_strand(context));
    co_await acceptor.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
    if (!acceptor.is_open()) co_return;
    if (error) {
      // A client that has gone already is nobody's problem.
      if (!no_descriptors(error)) continue;
      make_room(state);
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      continue;
    }
    ++state.counters.connections_ever;
    auto peer = peer_of(socket);
    const auto connection = std::make_shared<Connection>(std::move(socket), state, std::move(peer));
    if (state.connections.size() < connections_max || make_room(state)) {
      connection->start();
    } else {
      connection->start_refused();
    }
  }
}

}  // namespace tandem::server
