#include "cluster/net_address.h"

#include <array>
#include <charconv>
#include <memory>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "cluster/process.h"

namespace tandem::cluster {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

}  // namespace

Result<std::string> local_address_towards(const config::Host& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(host.port);
  if (::getaddrinfo(host.name.c_str(), port.c_str(), &hints, &found) != 0) {
    return Error{ErrorCode::kUnavailable, host.name + ": no such host"};
  }
  const AddressList list(found, &::freeaddrinfo);
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    const Fd socket(::socket(entry->ai_family, entry->ai_socktype, entry->ai_protocol));
    if (!socket.valid()) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    auto* address = reinterpret_cast<sockaddr*>(&own);
    // Connecting a datagram socket only looks up the route.
    if (::connect(socket.get(), entry->ai_addr, entry->ai_addrlen) != 0 ||
        ::getsockname(socket.get(), address, &length) != 0) {
      continue;
    }
    std::array<char, NI_MAXHOST> name{};
    if (::getnameinfo(address, length, name.data(), name.size(), nullptr, 0, NI_NUMERICHOST) == 0) {
      return std::string(name.data());
    }
  }
  return Error{ErrorCode::kUnavailable, host.name + ": no route to it"};
}

int port_of(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return 0;
  const std::string_view digits = address.substr(colon + 1);
  int port = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const bool whole = code == std::errc() && end == digits.data() + digits.size();
  return whole && port >= 1 && port <= 65535 ? port : 0;
}

bool is_loopback_name(std::string_view name) {
  if (name == "localhost" || name == "::1") return true;
  return name.starts_with("127.") && name.find_first_not_of("0123456789.") == name.npos;
}

}  // namespace tandem::cluster
