#pragma once
// Addresses as text.

#include <cstdint>
#include <string>
#include <string_view>

#include "config/hosts.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// The address of this machine that `host` sees: the source address of the route to it. Sends
/// nothing. kUnavailable when the name does not resolve or there is no route; here and below
/// kDeadlineExceeded when no name server answers within timing::kResolve.
Result<std::string> local_address_towards(const config::Host& host);
/// The IP address of a host name. kUnavailable when it does not resolve.
Result<std::string> ip_of(const std::string& name);
/// A TCP port of this machine's address `name` that nobody listens on now.
Result<std::uint16_t> free_port(const std::string& name);
/// The host of "host:port" or "[host]:port".
std::string host_of(std::string_view address);
/// The port of "host:port" or "[host]:port"; 0 when there is none.
int port_of(std::string_view address);
/// Whether a name reaches this machine only: "localhost", 127.x.x.x, ::1.
bool is_loopback_name(std::string_view name);

}  // namespace tandem::cluster
