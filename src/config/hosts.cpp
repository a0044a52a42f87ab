#include "config/hosts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "config/json.h"
#include "config/message.h"
#include "config/sizes.h"
#include "tandem/limits.h"

namespace tandem::config {
namespace {

constexpr std::size_t kMaxHostName = 255;
constexpr std::array kBackends = {"ring", "mpi", "nccl", "jaccl"};

Error bad_host(std::string_view text, std::string_view rule) {
  return invalid(fmt::format("host {}: {}", shown(std::string(text)), rule));
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_' || c == ':' || c == '%';
}

Result<std::uint16_t> parse_port(std::string_view host, std::string_view digits) {
  unsigned port = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const bool whole = code == std::errc() && end == digits.data() + digits.size();
  if (digits.empty() || !whole || port < 1 || port > 65535) {
    return bad_host(host, "the port must be a number from 1 to 65535");
  }
  return static_cast<std::uint16_t>(port);
}

// Splits "name", "name:port" and "[ipv6]:port"; a bare IPv6 address has no port.
Result<std::pair<std::string_view, std::string_view>> split_port(std::string_view text) {
  using Parts = std::pair<std::string_view, std::string_view>;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return bad_host(text, "a '[' needs its ']'");
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest[0] != ':') return bad_host(text, "only a :port may follow the ']'");
    return Parts{text.substr(1, close - 1), rest};
  }
  const std::size_t colon = text.find(':');
  const bool ipv6 = colon != std::string_view::npos && text.find(':', colon + 1) != colon &&
                    text.find(':', colon + 1) != std::string_view::npos;
  if (colon == std::string_view::npos || ipv6) return Parts{text, {}};
  return Parts{text.substr(0, colon), text.substr(colon)};
}

/// Without the blanks around it.
std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// A host as it was written.
struct Address {
  Host host;
  bool has_port = false;
};

Result<Address> parse_address(std::string_view text) {
  if (text.empty()) return invalid("a host is empty");
  auto parts = split_port(text);
  if (!parts) return parts.error();
  const auto [name, port] = *parts;
  if (name.empty() || name.size() > kMaxHostName || name.front() == '-' ||
      !std::all_of(name.begin(), name.end(), is_host_character)) {
    return bad_host(text, "must be an IP address or a host name, with :port after it if need be");
  }
  Address address;
  address.host.name = std::string(name);
  if (!port.empty()) {
    auto number = parse_port(text, port.substr(1));
    if (!number) return number.error();
    address.host.port = *number;
    address.has_port = true;
  }
  return address;
}

Status check_duplicates(const std::vector<Host>& hosts) {
  std::set<std::string> seen;
  for (const Host& host : hosts) {
    if (!seen.insert(to_string(host)).second) {
      return invalid(to_string(host) + " is listed twice");
    }
  }
  return {};
}

Status check_keys(const nlohmann::json& object, std::span<const std::string_view> known,
                  const std::string& where) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return invalid(fmt::format("{}: unknown key {}", where, shown(key)));
    }
  }
  return {};
}

/// Names of RDMA devices are for mlx.launch; a list of nulls names none.
Status check_rdma(const nlohmann::json& entry, const std::string& where) {
  const auto found = entry.find("rdma");
  if (found == entry.end() || found->is_null()) return {};
  const bool none = found->is_array() &&
                    std::all_of(found->begin(), found->end(),
                                [](const nlohmann::json& device) { return device.is_null(); });
  if (none) return {};
  return invalid(where + ": rdma: tandem uses no RDMA devices; leave it out");
}

constexpr std::array<std::string_view, 3> kFileKeys = {"backend", "envs", "hosts"};
constexpr std::array<std::string_view, 10> kHostKeys = {
    "ssh", "ips", "rdma", "port", "model", "device", "memory", "kv_memory", "threads", "layers"};

/// What the host's rank computes on and with how much.
Status read_place(const nlohmann::json& entry, const std::string& where, Host& host) {
  FieldReader reader(entry, where);
  const std::string device = reader.string_or("device", "");
  if (!device.empty() && device != "cpu" && device != "gpu") {
    reader.fail("device", "must be cpu or gpu");
  }
  if (!device.empty()) host.gpu = device == "gpu";
  const auto size = [&](const char* key) -> std::uint64_t {
    if (!reader.has(key)) return 0;
    const auto bytes = parse_bytes(reader.string_or(key, ""));
    if (!bytes) reader.fail(key, bytes.error().message);
    if (bytes && *bytes == 0) reader.fail(key, "must be more than 0");
    return bytes ? *bytes : 0;
  };
  host.memory_bytes = size("memory");
  host.kv_bytes = size("kv_memory");
  host.threads = reader.integer_or("threads", 0, 0, kMaxThreads);
  if (reader.has("layers")) {
    const auto range = parse_layers(reader.string_or("layers", ""));
    if (!range) reader.fail("layers", range.error().message);
    if (range) host.layers = *range;
  }
  return reader.status();
}

/// Layers of all hosts, one behind the other, or of none.
Status check_layers(const std::vector<Host>& hosts) {
  int next = 0;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (hosts[i].layers.has_value() != hosts.front().layers.has_value()) {
      return invalid(fmt::format("hosts[{}]: layers must be there for all hosts or for none", i));
    }
    if (!hosts[i].layers) continue;
    if (hosts[i].layers->first != next) {
      return invalid(fmt::format("hosts[{}]: layers must begin with {}, not {}", i, next,
                                 hosts[i].layers->first));
    }
    next = hosts[i].layers->last;
  }
  return {};
}

Result<Host> read_entry(const nlohmann::json& entry, const std::string& where) {
  if (!entry.is_object()) return invalid(where + " must be an object");
  if (auto keys = check_keys(entry, kHostKeys, where); !keys) {
    return keys.error();
  }
  if (auto rdma = check_rdma(entry, where); !rdma) return rdma.error();
  FieldReader reader(entry, where);
  const auto ips = reader.strings_or_empty("ips");
  const std::string ssh = reader.string_or("ssh", "");
  const std::string model = reader.string_or("model", "");
  const int port = reader.integer_or("port", kDefaultWorkerPort, 1, 65535);
  if (auto status = reader.status(); !status) return status.error();
  // ssh names may carry a user, which is no part of the address.
  const std::string address = ips.empty() ? ssh.substr(ssh.find('@') + 1) : ips.front();
  if (address.empty()) return invalid(where + ": needs an address in ips, or ssh");
  auto parsed = parse_address(address);
  if (!parsed) return invalid(where + ": " + parsed.error().message);
  Host& host = parsed->host;
  if (reader.has("port") && parsed->has_port && host.port != port) {
    return invalid(fmt::format("{}: port {} and address {} disagree", where, port, shown(address)));
  }
  if (reader.has("port")) host.port = static_cast<std::uint16_t>(port);
  host.model = model;
  if (auto placed = read_place(entry, where, host); !placed) return placed.error();
  return std::move(host);
}

}  // namespace

std::string to_string(const Host& host) {
  const bool ipv6 = host.name.find(':') != std::string::npos;
  return ipv6 ? fmt::format("[{}]:{}", host.name, host.port)
              : fmt::format("{}:{}", host.name, host.port);
}

Result<Host> parse_host(std::string_view text) {
  auto address = parse_address(text);
  if (!address) return address.error();
  return std::move(address->host);
}

Result<std::vector<Host>> parse_hosts(std::string_view list) {
  std::vector<Host> hosts;
  while (true) {
    const std::size_t comma = list.find(',');
    auto host = parse_host(trimmed(list.substr(0, comma)));
    if (!host) return host.error();
    hosts.push_back(std::move(*host));
    if (hosts.size() > kMaxHosts) return invalid(fmt::format("more than {} hosts", kMaxHosts));
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  if (auto unique = check_duplicates(hosts); !unique) return unique.error();
  return hosts;
}

Result<HostFile> parse_hostfile(std::string_view text, std::string_view file) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  auto json = parse_json(text, file);
  if (!json) return json.error();
  const std::string name(file);
  HostFile result;
  const nlohmann::json* list = &*json;
  if (json->is_object()) {
    if (auto keys = check_keys(*json, kFileKeys, name); !keys) {
      return keys.error();
    }
    FieldReader reader(*json, name);
    result.backend = reader.string_or("backend", "");
    if (!reader.strings_or_empty("envs").empty()) {
      reader.fail("envs", "the workers run already: set variables where they are started");
    }
    if (auto status = reader.status(); !status) return status.error();
    if (!result.backend.empty() &&
        std::find(kBackends.begin(), kBackends.end(), result.backend) == kBackends.end()) {
      return invalid(fmt::format("{}: backend must be ring, mpi, nccl or jaccl, not {}", name,
                                 shown(result.backend)));
    }
    if (!json->contains("hosts")) return invalid(name + ": \"hosts\" is missing");
    list = &(*json)["hosts"];
  }
  if (!list->is_array() || list->empty() || list->size() > kMaxHosts) {
    return invalid(fmt::format("{}: the hosts must be a list of 1 to {} entries", name, kMaxHosts));
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    auto host = read_entry((*list)[i], fmt::format("{}: hosts[{}]", name, i));
    if (!host) return host.error();
    result.hosts.push_back(std::move(*host));
  }
  if (auto unique = check_duplicates(result.hosts); !unique) {
    return invalid(name + ": " + unique.error().message);
  }
  if (auto follow = check_layers(result.hosts); !follow) {
    return invalid(name + ": " + follow.error().message);
  }
  return result;
}

Result<HostFile> load_hostfile(const std::filesystem::path& file) {
  auto text = read_text_file(file, kMaxHostFileBytes);
  if (!text) return text.error();
  return parse_hostfile(*text, file.filename().string());
}

}  // namespace tandem::config
