#include "planner/inventory.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <optional>
#include <utility>

#include "config/json.h"
#include "config/message.h"

namespace tandem::planner {
namespace {

constexpr std::size_t kNameBytesMax = 255;

/// Where messages say that something is.
struct Place {
  std::string file;
  std::string table;  // "host[0]"; empty: the file itself
};

/// A table of the file: reads its fields and keeps the first error.
class Entry {
 public:
  Entry(const toml::table& table, Place place) : table_(table), place_(std::move(place)) {}

  std::string text(std::string_view key) {
    const auto* value = table_.get_as<std::string>(key);
    if (value == nullptr) {
      fail(key, table_.contains(key) ? "must be text" : "is missing");
      return {};
    }
    if (value->get().empty() || value->get().size() > kNameBytesMax) {
      fail(key, fmt::format("must have 1 to {} bytes", kNameBytesMax));
    }
    return value->get();
  }

  double number(std::string_view key, double least, double most) {
    const toml::node* node = table_.get(key);
    const bool number = node != nullptr && node->is_number();
    const double value = number ? node->value_or(least) : least;
    if (!number) {
      fail(key, node != nullptr ? "must be a number" : "is missing");
    } else if (!(value >= least && value <= most)) {
      fail(key, fmt::format("must be from {:g} to {:g}, not {:g}", least, most, value));
      return least;
    }
    return value;
  }

  /// Any other key is an error.
  void only(std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : table_) {
      if (std::ranges::find(known, key.str()) != known.end()) continue;
      std::string list;
      for (const std::string_view each : known)
        list += (list.empty() ? "" : ", ") + std::string(each);
      fail(key.str(), "is not known here; known: " + list);
    }
  }

  void fail(std::string_view key, std::string_view rule) {
    if (error_) return;
    const toml::node* node = table_.get(key);
    const auto line = (node != nullptr ? node->source() : table_.source()).begin.line;
    const std::string table = place_.table.empty() ? "" : place_.table + ".";
    error_ = invalid(
        config::one_line(fmt::format("{}: line {}: {}{} {}", place_.file, line, table, key, rule)));
  }

  const std::optional<Error>& error() const { return error_; }
  const toml::table& table() const { return table_; }
  bool has(std::string_view key) const { return table_.contains(key); }

 private:
  const toml::table& table_;
  Place place_;
  std::optional<Error> error_;
};

Machine read_machine(Entry& entry) {
  entry.only({"name", "memory_gb", "bandwidth_gbs", "tflops", "device"});
  Machine machine;
  machine.name = entry.text("name");
  machine.memory = static_cast<std::uint64_t>(entry.number("memory_gb", 1e-3, 1e6) * 1e9);
  machine.bandwidth = entry.number("bandwidth_gbs", 1e-3, 1e6) * 1e9;
  machine.flops = entry.number("tflops", 1e-4, 1e6) * 1e12;
  if (entry.has("device")) {
    const std::string device = entry.text("device");
    if (device != "cpu" && device != "gpu") entry.fail("device", "must be \"cpu\" or \"gpu\"");
    machine.gpu = device == "gpu";
  }
  return machine;
}

std::optional<std::size_t> place_of(const std::vector<Machine>& machines, std::string_view name) {
  const auto found = std::ranges::find(machines, name, &Machine::name);
  if (found == machines.end()) return std::nullopt;
  return static_cast<std::size_t>(found - machines.begin());
}

/// The two machines of a link; {0, 0} after an error.
std::pair<std::size_t, std::size_t> read_ends(Entry& entry, const std::vector<Machine>& machines) {
  const toml::array* ends = entry.table().get_as<toml::array>("between");
  if (ends == nullptr || ends->size() != 2) {
    entry.fail("between", entry.has("between") ? "must be two names of hosts" : "is missing");
    return {0, 0};
  }
  std::size_t places[2] = {0, 0};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto* name = (*ends)[i].as_string();
    const auto place = name != nullptr ? place_of(machines, name->get()) : std::nullopt;
    if (!place) {
      entry.fail("between", name == nullptr ? "must be two names of hosts"
                                            : "names " + config::shown(name->get()) +
                                                  ", which no [[host]] is called");
      return {0, 0};
    }
    places[i] = *place;
  }
  if (places[0] == places[1]) entry.fail("between", "must be two different hosts");
  return {places[0], places[1]};
}

std::optional<Error> read_link(Entry& entry, Inventory& inventory, std::vector<std::string>& seen) {
  entry.only({"between", "latency_ms", "gbit"});
  auto [a, b] = read_ends(entry, inventory.machines);
  const Link link{entry.number("latency_ms", 0, 60'000) / 1000,
                  entry.number("gbit", 1e-6, 1e6) * 1e9 / 8};
  if (entry.error()) return entry.error();
  std::string pair = fmt::format("{} {}", std::min(a, b), std::max(a, b));
  if (std::ranges::find(seen, pair) != seen.end()) {
    entry.fail("between", "names two hosts whose link stands there already");
  }
  seen.push_back(std::move(pair));
  inventory.links[a][b] = link;
  inventory.links[b][a] = link;
  return entry.error();
}

/// The tables of [[name]]; an error for anything else of that name.
Result<std::vector<const toml::table*>> tables(Entry& top, const std::string& name) {
  std::vector<const toml::table*> out;
  if (!top.has(name)) return out;
  const auto* list = top.table().get_as<toml::array>(name);
  if (list == nullptr || !list->is_homogeneous(toml::node_type::table)) {
    top.fail(name, "must be [[" + name + "]] tables");
    return *top.error();
  }
  for (const toml::node& node : *list) out.push_back(node.as_table());
  return out;
}

Result<Inventory> read(const toml::table& root, const std::string& file) {
  Entry top(root, {file, ""});
  top.only({"host", "link"});
  if (top.error()) return *top.error();
  const auto hosts = tables(top, "host");
  if (!hosts) return hosts.error();
  if (hosts->empty() || hosts->size() > kMachinesMax) {
    return invalid(fmt::format("{}: line 1: host must be 1 to {} [[host]] tables, not {}", file,
                               kMachinesMax, hosts->size()));
  }
  std::vector<Machine> machines;
  for (std::size_t i = 0; i < hosts->size(); ++i) {
    Entry entry(*(*hosts)[i], {file, fmt::format("host[{}]", i)});
    Machine machine = read_machine(entry);
    if (place_of(machines, machine.name)) entry.fail("name", "is another host's already");
    if (entry.error()) return *entry.error();
    machines.push_back(std::move(machine));
  }
  Inventory inventory = connected(std::move(machines));
  const auto links = tables(top, "link");
  if (!links) return links.error();
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < links->size(); ++i) {
    Entry entry(*(*links)[i], {file, fmt::format("link[{}]", i)});
    if (auto error = read_link(entry, inventory, seen)) return *error;
  }
  return inventory;
}

}  // namespace

bool Machine::same_specs(const Machine& other) const {
  return memory == other.memory && bandwidth == other.bandwidth && flops == other.flops &&
         gpu == other.gpu;
}

Inventory connected(std::vector<Machine> machines, const Link& each) {
  Inventory inventory;
  const std::size_t count = machines.size();
  inventory.machines = std::move(machines);
  inventory.links.assign(count, std::vector<Link>(count, each));
  for (std::size_t i = 0; i < count; ++i) {
    inventory.links[i][i] = {0, std::numeric_limits<double>::infinity()};
  }
  return inventory;
}

Result<Inventory> parse_inventory(std::string_view text, const std::string& file) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return invalid(
        config::one_line(fmt::format("{}: line {}: {}", file, parsed.error().source().begin.line,
                                     parsed.error().description())));
  }
  return read(parsed.table(), file);
}

Result<Inventory> load_inventory(const std::filesystem::path& file) {
  auto text = config::read_text_file(file, kInventoryBytesMax);
  if (!text) return text.error();
  return parse_inventory(*text, file.string());
}

}  // namespace tandem::planner
