#pragma once
// Machines and the wires between them, as the planner sees them, and the TOML file that lists them.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::plan {

/// Most machines of an inventory, and largest file, bytes.
inline constexpr std::size_t kMachinesMax = 64;
inline constexpr std::size_t kInventoryBytesMax = 1U << 20;

struct Machine {
  std::string name;
  std::uint64_t memory = 0;  // bytes that a rank may take; 0: not known, so enough
  double bandwidth = 0;      // bytes a second that it reads from memory, more than 0
  double compute = 0;        // multiply-adds a second of the types that models use, more than 0
  bool gpu = false;
};

/// What it takes from one machine to another.
struct Link {
  double latency = 0;  // seconds, one way
  double rate = 0;     // bytes a second, more than 0
};

/// The first machine runs the gateway. Links are symmetric.
struct Inventory {
  std::vector<Machine> machines;         // 1 to kMachinesMax
  std::vector<std::vector<Link>> links;  // [a][b]; of a machine to itself nothing

  const Link& link(std::size_t a, std::size_t b) const { return links[a][b]; }
};

/// Between machines of which the file says nothing: a gigabit LAN.
inline constexpr Link kLan{0.0005, 1e9 / 8};

/// All links as `each` says, but those of a machine to itself, which take nothing.
Inventory connect(std::vector<Machine> machines, const Link& each);

/// TOML: [[host]] name, memory_gb, bandwidth_gbs, tflops (optional: device = "gpu"), and [[link]]
/// between = ["a", "b"], latency_ms, gbit. GB are 10^9 bytes; tflops counts a multiply-add as two.
/// Unknown keys, names that are not there or twice and numbers out of range are errors that name
/// them. `file` is for messages.
Result<Inventory> parse_inventory(std::string_view text, const std::string& file);
Result<Inventory> load_inventory(const std::filesystem::path& file);

}  // namespace tandem::plan
