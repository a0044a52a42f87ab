#pragma once
// Addresses as text.

#include <string>
#include <string_view>

#include "config/hosts.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// The address of this machine that `host` sees: the source address of the route to it. Sends
/// nothing. kUnavailable when the name does not resolve or there is no route.
Result<std::string> local_address_towards(const config::Host& host);
/// The port of "host:port" or "[host]:port"; 0 when there is none.
int port_of(std::string_view address);
/// Whether a name reaches this machine only: "localhost", 127.x.x.x, ::1.
bool is_loopback_name(std::string_view name);

}  // namespace tandem::cluster
