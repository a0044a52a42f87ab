#pragma once
// Machines and the links between them, and the TOML file that lists them.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::planner {

/// Most machines of an inventory, and largest file, bytes.
inline constexpr std::size_t kMachinesMax = 32;
inline constexpr std::size_t kInventoryBytesMax = 1U << 20;

struct Machine {
  std::string name;
  std::uint64_t memory = 0;  // bytes that a rank may take
  double bandwidth = 0;      // bytes a second that it reads from memory, more than 0
  double flops = 0;          // a second, a multiply-add counted as two, more than 0
  bool gpu = true;           // what the model is computed on
  bool same_specs(const Machine& other) const;
};

/// What it takes from one machine to another.
struct Link {
  double latency = 0;  // seconds, one way
  double rate = 0;     // bytes a second, more than 0
  bool operator==(const Link&) const = default;
};

/// Links are symmetric.
struct Inventory {
  std::vector<Machine> machines;         // 1 to kMachinesMax
  std::vector<std::vector<Link>> links;  // [a][b]; of a machine to itself: nothing
  std::vector<Link> gateway = {};        // to each machine; empty: the first one runs the gateway

  const Link& to_gateway(std::size_t machine) const {
    return gateway.empty() ? links[0][machine] : gateway[machine];
  }
};

/// Between machines of which the file says nothing: a gigabit LAN.
inline constexpr Link kLan{0.0005, 1e9 / 8};

/// All links as `each` says.
Inventory connected(std::vector<Machine> machines, const Link& each = kLan);

/// TOML: [[host]] name, memory_gb, bandwidth_gbs, tflops (device = "cpu" where no GPU computes),
/// and
/// [[link]] between = ["a", "b"], latency_ms, gbit. GB are 10^9 bytes. Unknown keys, names that are
/// not there or twice and numbers out of range are errors that name file, line, field and rule.
/// `file` is for messages.
Result<Inventory> parse_inventory(std::string_view text, const std::string& file);
Result<Inventory> load_inventory(const std::filesystem::path& file);

}  // namespace tandem::planner
