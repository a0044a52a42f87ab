#pragma once
// The listening sockets of a server.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/http/server_state.h"
#include "tandem/error.h"

namespace tandem::server {

/// What is listened on, before anyone is let in.
struct Listening {
  std::vector<boost::asio::ip::tcp::acceptor> acceptors;
  std::uint16_t port = 0;
  bool loopback = false;  // all of the addresses are
};

/// Binds every address that `host` has (IPv4 and IPv6; "[::1]" is fine). kUnavailable, with host
/// and port, when that is impossible.
Result<Listening> listen_on(boost::asio::io_context& context, const std::string& host,
                            std::uint16_t port);

/// Takes connections until the acceptor is closed. Over connections_max, or when the process has no
/// descriptor left, the connection that has waited longest for its client is closed to make room;
/// without one the newcomer is answered 503.
boost::asio::awaitable<void> accept_all(boost::asio::ip::tcp::acceptor& acceptor,
                                        boost::asio::io_context& context, ServerState& state,
                                        std::size_t connections_max);

}  // namespace tandem::server
