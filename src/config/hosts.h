#pragma once
// Where workers listen: the --hosts list and host files.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"
#include "tandem/stage_info.h"

namespace tandem::config {

/// Where `tandem worker` listens unless told otherwise.
inline constexpr std::uint16_t kDefaultWorkerPort = 4820;
/// Most hosts in one list.
inline constexpr std::size_t kMaxHosts = 1024;
/// Largest host file, bytes.
inline constexpr std::size_t kMaxHostFileBytes = 1U << 20;

/// One worker.
struct Host {
  std::string name;  // an IPv4 or IPv6 address (no brackets) or a host name
  std::uint16_t port = kDefaultWorkerPort;
  std::string model;               // the model folder on that host; empty: the gateway's path
  std::optional<bool> gpu = {};    // what it computes on; absent: as the worker likes
  std::uint64_t memory_bytes = 0;  // most for weights, steps and KV; 0: what the worker says
  std::uint64_t kv_bytes = 0;      // most KV; 0: --kv-memory's
  int threads = 0;                 // 0: --threads'
  std::optional<LayerRange> layers = {};  // of all hosts or of none
  // For `tandem launch`, which starts the worker.
  std::string ssh = {};        // where ssh reaches the host, "user@name"; empty: at its address
  std::uint16_t ssh_port = 0;  // 0: as ssh is configured
  std::string binary = {};     // of tandem on that host; empty: the one on its PATH
  bool operator==(const Host&) const = default;
};

/// A --hostfile, in the shapes that mlx.launch reads: a list of hosts, or an object with them under
/// "hosts".
struct HostFile {
  std::string backend;            // "ring", "mpi", "nccl", "jaccl", "jaccl-ring"; empty: not said
  std::vector<std::string> envs;  // "NAME=value"
  std::vector<Host> hosts;        // in rank order, never empty
};

/// "10.0.0.1:4820", "[::1]:4820", "mac-1.local".
std::string to_string(const Host& host);
/// One "host", "host:port" or "[ipv6]:port"; port 1 to 65535.
Result<Host> parse_host(std::string_view text);
/// --hosts a:port,b:port. Empty entries and duplicates are errors that name them.
Result<std::vector<Host>> parse_hosts(std::string_view list);
/// Strict JSON: [{"ips": ["10.0.0.1"], "port": 4820, "ssh": "name", "model": "/path",
/// "device": "gpu", "memory": "12G", "kv_memory": "2G", "threads": 8, "layers": "0-19", "ssh_port":
/// 22, "binary": "/path"}]. The address is ips[0], or ssh without ips; "port" defaults to
/// kDefaultWorkerPort, and so may all the others be left out. An unknown key, a duplicate address
/// or a bad value is an error that names it. `file` is for messages.
Result<HostFile> parse_hostfile(std::string_view text, std::string_view file);
Result<HostFile> load_hostfile(const std::filesystem::path& file);

}  // namespace tandem::config
