#include "launch/command.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "config/message.h"

namespace tandem::launch {
namespace {

bool only(std::string_view text, std::string_view marks) {
  return !text.empty() && text.size() <= 1024 && text.front() != '-' &&
         std::ranges::all_of(text, [&](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  marks.find(c) != std::string_view::npos;
         });
}

}  // namespace

Status check_destination(std::string_view text) {
  const std::size_t at = text.find('@');
  const bool named = at != std::string_view::npos;
  const std::string_view host = named ? text.substr(at + 1) : text;
  if (only(host, "._-:%") && (!named || only(text.substr(0, at), "._-+"))) return {};
  return invalid(fmt::format("{} must be a host for ssh: [user@]name or [user@]address",
                             config::shown(std::string(text))));
}

Status check_binary(std::string_view text) {
  if (only(text, "._-+@/~")) return {};
  return invalid(
      fmt::format("{} must be a path of letters, digits and . _ - + @ / ~ (a shell on "
                  "the other machine reads it)",
                  config::shown(std::string(text))));
}

bool is_here(std::string_view destination) {
  return destination == "localhost" || destination == "127.0.0.1" || destination == "::1";
}

bool is_address(const std::string& text) {
  in6_addr bytes;
  return ::inet_pton(AF_INET, text.c_str(), &bytes) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &bytes) == 1;
}

std::vector<std::string> worker_command(const Target& target, const std::string& executable) {
  if (target.ssh.empty()) {
    return {target.binary.empty() ? executable : target.binary, "worker", kLaunchedFlag};
  }
  // No password can be asked for, a host that does not answer is an error, and a dead connection
  // ends within 15 s.
  std::vector<std::string> words = {"ssh", "-T",
                                    "-o",  "BatchMode=yes",
                                    "-o",  "ConnectTimeout=10",
                                    "-o",  "ServerAliveInterval=5",
                                    "-o",  "ServerAliveCountMax=3"};
  if (target.ssh_port != 0) {
    words.insert(words.end(), {"-p", std::to_string(target.ssh_port)});
  }
  words.insert(words.end(), {"--", target.ssh, target.binary.empty() ? "tandem" : target.binary,
                             "worker", kLaunchedFlag});
  return words;
}

}  // namespace tandem::launch
