#include "cluster/wire/net_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/bounded_call.h"
#include "base/fd.h"
#include "cluster/timing.h"

namespace tandem::cluster {
namespace {

using AddressList = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

/// Null when there are none. `flags`: AI_NUMERICHOST, or 0 to ask name servers, which may block.
AddressList addresses(const std::string& name, std::uint16_t port, int kind, int flags) {
  addrinfo hints{};
  hints.ai_socktype = kind;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  if (::getaddrinfo(name.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    found = nullptr;
  }
  return {found, [](addrinfo* list) {
            if (list != nullptr) ::freeaddrinfo(list);
          }};
}

Result<AddressList> resolve(const std::string& name, std::uint16_t port, int kind) {
  AddressList written = addresses(name, port, kind, AI_NUMERICHOST);
  if (written) return written;
  auto asked = within(timing::kResolve, [=] { return addresses(name, port, kind, 0); });
  if (!asked) return Error{ErrorCode::kDeadlineExceeded, name + ": no name server answers"};
  if (!*asked) return Error{ErrorCode::kUnavailable, name + ": no such host"};
  return std::move(*asked);
}

// An address and port as text, the way people write them.
struct Written {
  std::array<char, NI_MAXHOST> name{};
  std::array<char, NI_MAXSERV> port{};
  bool good = false;
  Written(const sockaddr* address, socklen_t length)
      : good(::getnameinfo(address, length, name.data(), NI_MAXHOST, port.data(), NI_MAXSERV,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {}
};

Written own_address(const Fd& socket) {
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  auto* address = reinterpret_cast<sockaddr*>(&own);
  if (::getsockname(socket.get(), address, &length) != 0) length = 0;
  return {address, length};
}

}  // namespace

Result<std::string> local_address_towards(const config::Host& host) {
  auto list = resolve(host.name, host.port, SOCK_DGRAM);
  if (!list) return list.error();
  for (const addrinfo* entry = list->get(); entry != nullptr; entry = entry->ai_next) {
    const Fd socket(::socket(entry->ai_family, entry->ai_socktype, entry->ai_protocol));
    // Connecting a datagram socket only looks up the route.
    if (!socket.valid() || ::connect(socket.get(), entry->ai_addr, entry->ai_addrlen) != 0) {
      continue;
    }
    const Written own = own_address(socket);
    if (own.good) return std::string(own.name.data());
  }
  return Error{ErrorCode::kUnavailable, host.name + ": no route to it"};
}

Result<std::string> ip_of(const std::string& name) {
  auto list = resolve(name, 0, SOCK_STREAM);
  if (!list) return list.error();
  const Written first(list->get()->ai_addr, list->get()->ai_addrlen);
  if (!first.good) return Error{ErrorCode::kUnavailable, name + ": no such host"};
  return std::string(first.name.data());
}

Result<std::uint16_t> free_port(const std::string& name) {
  auto list = resolve(name, 0, SOCK_STREAM);
  if (!list) return list.error();
  const addrinfo& entry = *list->get();
  const Fd socket(::socket(entry.ai_family, entry.ai_socktype, entry.ai_protocol));
  if (!socket.valid() || ::bind(socket.get(), entry.ai_addr, entry.ai_addrlen) != 0) {
    return Error{ErrorCode::kUnavailable, name + ": not an address of this machine"};
  }
  const Written own = own_address(socket);
  const int port = own.good ? port_of(fmt::format(":{}", own.port.data())) : 0;
  if (port == 0) return Error{ErrorCode::kInternal, name + ": no free port"};
  return static_cast<std::uint16_t>(port);
}

std::string host_of(std::string_view address) {
  if (address.starts_with('[')) return std::string(address.substr(1, address.find(']') - 1));
  return std::string(address.substr(0, address.rfind(':')));
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
  if (name == "localhost") return true;
  const std::string text(name);
  in_addr four{};
  if (::inet_pton(AF_INET, text.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  in6_addr six{};
  if (::inet_pton(AF_INET6, text.c_str(), &six) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
}

}  // namespace tandem::cluster
