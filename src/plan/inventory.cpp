#include "plan/inventory.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <optional>
#include <sstream>
#include <toml++/toml.h>
#include <utility>

#include "config/message.h"
#include "config/text_file.h"

namespace tandem::plan {
namespace {

constexpr std::size_t kNameBytesMax = 64;

/// A table of the file: reads its fields and keeps the first error.
class Entry {
 public:
  Entry(const toml::table& table, std::string where) : table_(table), where_(std::move(where)) {}

  std::string text(const char* key, bool needed) {
    const auto value = table_[key].value<std::string>();
    if (table_.contains(key) && !table_[key].is_string()) return fail(key, "must be text"), "";
    if (!value && needed) fail(key, "is missing");
    if (value && (value->empty() || value->size() > kNameBytesMax)) {
      fail(key, fmt::format("must have 1 to {} bytes", kNameBytesMax));
    }
    return value.value_or("");
  }

  double number(const char* key, double least, double most) {
    const auto value = table_[key].value<double>();
    if (!value) {
      fail(key, table_.contains(key) ? "must be a number" : "is missing");
      return least;
    }
    if (!(*value >= least && *value <= most)) {
      fail(key, fmt::format("must be from {} to {}, not {}", least, most, *value));
    }
    return *value;
  }

  void only(std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : table_) {
      if (std::find(known.begin(), known.end(), key.str()) == known.end()) {
        fail(std::string(key.str()), "is no key that is known here");
      }
    }
  }

  void fail(const std::string& key, const std::string& rule) {
    if (!error_) error_ = invalid(config::one_line(fmt::format("{}: {}: {}", where_, key, rule)));
  }
  const std::optional<Error>& error() const { return error_; }
  const toml::table& table() const { return table_; }

 private:
  const toml::table& table_;
  std::string where_;
  std::optional<Error> error_;
};

Machine read_machine(Entry& entry) {
  entry.only({"name", "memory_gb", "bandwidth_gbs", "tflops", "device"});
  Machine machine;
  machine.name = entry.text("name", true);
  machine.memory = static_cast<std::uint64_t>(entry.number("memory_gb", 0.001, 1e6) * 1e9);
  machine.bandwidth = entry.number("bandwidth_gbs", 0.001, 1e6) * 1e9;
  machine.compute = entry.number("tflops", 0.0001, 1e6) * 1e12 / 2;
  const std::string device = entry.text("device", false);
  if (!device.empty() && device != "cpu" && device != "gpu") {
    entry.fail("device", "must be cpu or gpu");
  }
  machine.gpu = device == "gpu";
  return machine;
}

std::optional<std::size_t> find(const std::vector<Machine>& machines, const std::string& name) {
  const auto found = std::ranges::find(machines, name, &Machine::name);
  if (found == machines.end()) return std::nullopt;
  return static_cast<std::size_t>(found - machines.begin());
}

Status read_link(Entry& entry, Inventory& inventory) {
  entry.only({"between", "latency_ms", "gbit"});
  const toml::array* ends = entry.table()["between"].as_array();
  std::vector<std::size_t> places;
  for (std::size_t i = 0; ends != nullptr && i < ends->size() && i < 2; ++i) {
    const std::string name = (*ends)[i].value_or(std::string());
    const auto place = find(inventory.machines, name);
    if (!place) entry.fail("between", "no host is called " + config::shown(name));
    if (place) places.push_back(*place);
  }
  if (ends == nullptr || ends->size() != 2) entry.fail("between", "must be two names of hosts");
  const Link link{entry.number("latency_ms", 0, 60'000) / 1000,
                  entry.number("gbit", 1e-6, 1e6) * 1e9 / 8};
  if (entry.error()) return *entry.error();
  if (places[0] == places[1]) {
    entry.fail("between", "must be two different hosts");
    return *entry.error();
  }
  inventory.links[places[0]][places[1]] = link;
  inventory.links[places[1]][places[0]] = link;
  return {};
}

/// The tables of [[name]]; an error for anything else of that name.
Result<std::vector<const toml::table*>> tables(const toml::table& root, const char* name,
                                               const std::string& file) {
  std::vector<const toml::table*> out;
  if (!root.contains(name)) return out;
  const toml::array* list = root[name].as_array();
  const bool good = list != nullptr && list->is_homogeneous(toml::node_type::table);
  if (!good) return invalid(fmt::format("{}: {} must be [[{}]] tables", file, name, name));
  for (const toml::node& node : *list) out.push_back(node.as_table());
  return out;
}

Result<Inventory> read(const toml::table& root, const std::string& file) {
  Entry top(root, file);
  top.only({"host", "link"});
  if (top.error()) return *top.error();
  const auto hosts = tables(root, "host", file);
  if (!hosts) return hosts.error();
  if (hosts->empty() || hosts->size() > kMachinesMax) {
    return invalid(fmt::format("{}: needs 1 to {} [[host]] tables", file, kMachinesMax));
  }
  std::vector<Machine> machines;
  for (std::size_t i = 0; i < hosts->size(); ++i) {
    Entry entry(*(*hosts)[i], fmt::format("{}: host[{}]", file, i));
    Machine machine = read_machine(entry);
    if (find(machines, machine.name)) entry.fail("name", "stands there twice");
    if (entry.error()) return *entry.error();
    machines.push_back(std::move(machine));
  }
  Inventory inventory = connect(std::move(machines), kLan);
  const auto links = tables(root, "link", file);
  if (!links) return links.error();
  for (std::size_t i = 0; i < links->size(); ++i) {
    Entry entry(*(*links)[i], fmt::format("{}: link[{}]", file, i));
    if (Status added = read_link(entry, inventory); !added.ok()) return added.error();
  }
  return inventory;
}

}  // namespace

Inventory connect(std::vector<Machine> machines, const Link& each) {
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
  try {
    return read(toml::parse(text, file), file);
  } catch (const toml::parse_error& failure) {
    return invalid(config::one_line(fmt::format("{}: line {}: {}", file,
                                                failure.source().begin.line,
                                                failure.description())));
  }
}

Result<Inventory> load_inventory(const std::filesystem::path& file) {
  auto text = config::read_text_file(file, kInventoryBytesMax);
  if (!text) return text.error();
  return parse_inventory(*text, file.filename().string());
}

}  // namespace tandem::plan
