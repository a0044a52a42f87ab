#include "planner/search.h"

#include <algorithm>
#include <cstdint>

namespace tandem::planner {
namespace {

/// Whether nothing changes when two machines change places. The gateway's own never does.
bool interchangeable(const Inventory& inventory, std::size_t a, std::size_t b) {
  if (inventory.gateway.empty() && (a == 0 || b == 0)) return false;
  if (!inventory.machines[a].same_specs(inventory.machines[b])) return false;
  if (inventory.to_gateway(a) != inventory.to_gateway(b)) return false;
  for (std::size_t i = 0; i < inventory.machines.size(); ++i) {
    if (i != a && i != b && inventory.links[a][i] != inventory.links[b][i]) return false;
  }
  return true;
}

/// How a cell came about.
struct Parent {
  std::size_t node = SIZE_MAX;  // of the machine before; SIZE_MAX: none
  int first = 0;
};

class Table {
 public:
  explicit Table(const Search& search)
      : search_(search),
        width_(static_cast<std::size_t>(search.layers) + 1),
        costs_(search.pipelines.nodes.size() * width_, kInfinite),
        parents_(costs_.size()) {}

  std::optional<Found> solve() {
    const std::vector<Pipelines::Node>& nodes = search_.pipelines.nodes;
    for (const std::size_t node : search_.pipelines.starts) {
      extend(SIZE_MAX, node, 0, sums() ? search_.hops.begin[nodes[node].machine] : 0);
    }
    for (std::size_t node = 0; node < nodes.size(); ++node) {
      if (search_.count != 0 && nodes[node].count >= search_.count) continue;
      for (const std::size_t next : nodes[node].next) hop(node, next);
    }
    return best();
  }

 private:
  bool sums() const { return search_.of == Search::Of::kSum; }

  void hop(std::size_t node, std::size_t next) {
    const std::size_t from = search_.pipelines.nodes[node].machine;
    const std::size_t to = search_.pipelines.nodes[next].machine;
    if (search_.hops.occupancy[from][to] > search_.stage_limit) return;
    const double cost = sums() ? search_.hops.between[from][to] : 0;
    for (int first = 1; first < search_.layers; ++first) {
      const double before = costs_[node * width_ + static_cast<std::size_t>(first)];
      if (before + cost < search_.bound) extend(node, next, first, before + cost);
    }
  }

  /// All ranges from `first` on, on the machine of `next`.
  void extend(std::size_t node, std::size_t next, int first, double before) {
    const double* stage = search_.stages[search_.pipelines.nodes[next].machine]->from(first);
    double* costs = &costs_[next * width_];
    for (int last = first + 1; last <= search_.layers; ++last) {
      const double own = stage[last];
      const double cost = sums() ? before + own : std::max(before, own);
      if (own > search_.stage_limit || cost >= search_.bound) break;
      if (cost > costs[last]) continue;  // of equals the one whose earlier ranges are longer
      costs[last] = cost;
      parents_[next * width_ + static_cast<std::size_t>(last)] = {node, first};
    }
  }

  std::optional<Found> best() const {
    const std::vector<Pipelines::Node>& nodes = search_.pipelines.nodes;
    double least = search_.bound;
    std::size_t at = SIZE_MAX;
    for (std::size_t node = 0; node < nodes.size(); ++node) {
      if (search_.count != 0 && nodes[node].count != search_.count) continue;
      const double end = sums() ? search_.hops.end[nodes[node].machine] : 0;
      const double cost = costs_[node * width_ + width_ - 1] + end;
      if (cost >= least) continue;
      least = cost;
      at = node;
    }
    if (at == SIZE_MAX) return std::nullopt;
    Found found{least, {}};
    int last = search_.layers;
    while (at != SIZE_MAX) {
      const Parent& parent = parents_[at * width_ + static_cast<std::size_t>(last)];
      found.stages.push_back({nodes[at].machine, {parent.first, last}});
      last = parent.first;
      at = parent.node;
    }
    std::ranges::reverse(found.stages);
    return found;
  }

  const Search& search_;
  std::size_t width_;
  std::vector<double> costs_;  // [node][layers done]
  std::vector<Parent> parents_;
};

}  // namespace

MachineClasses classes_of(const Inventory& inventory) {
  MachineClasses classes;
  for (std::size_t i = 0; i < inventory.machines.size(); ++i) {
    const auto same = std::ranges::find_if(classes.members, [&](const auto& members) {
      return interchangeable(inventory, members.front(), i);
    });
    classes.of.push_back(static_cast<std::size_t>(same - classes.members.begin()));
    if (same == classes.members.end()) {
      classes.members.push_back({i});
    } else {
      same->push_back(i);
    }
  }
  return classes;
}

std::optional<Pipelines> all_pipelines(const MachineClasses& classes, std::size_t nodes_max) {
  // A state says how many of each class are used, as digits of a number; a node is a state and the
  // class that came last.
  const std::size_t kinds = classes.members.size();
  std::vector<std::size_t> weight(kinds, 1);
  std::size_t states = 1;
  for (std::size_t kind = 0; kind < kinds; ++kind) {
    weight[kind] = states;
    states *= classes.members[kind].size() + 1;
    if (states * kinds > nodes_max) return std::nullopt;
  }
  const auto used = [&](std::size_t state, std::size_t kind) {
    return state / weight[kind] % (classes.members[kind].size() + 1);
  };
  Pipelines out;
  std::vector<std::vector<std::size_t>> node_of(states, std::vector<std::size_t>(kinds, SIZE_MAX));
  for (std::size_t state = 1; state < states; ++state) {
    int count = 0;
    for (std::size_t kind = 0; kind < kinds; ++kind) count += static_cast<int>(used(state, kind));
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      if (used(state, kind) == 0) continue;
      node_of[state][kind] = out.nodes.size();
      out.nodes.push_back({classes.members[kind][used(state, kind) - 1], count, {}});
      if (count == 1) out.starts.push_back(node_of[state][kind]);
    }
  }
  for (std::size_t state = 1; state < states; ++state) {
    for (std::size_t next = 0; next < kinds; ++next) {
      if (used(state, next) == classes.members[next].size()) continue;
      for (const std::size_t node : node_of[state]) {
        if (node == SIZE_MAX) continue;
        out.nodes[node].next.push_back(node_of[state + weight[next]][next]);
      }
    }
  }
  return out;
}

Pipelines whole_pipeline(const std::vector<std::size_t>& order) {
  Pipelines out;
  for (std::size_t i = 0; i < order.size(); ++i) {
    out.nodes.push_back({order[i], static_cast<int>(i) + 1, {}});
    if (i + 1 < order.size()) out.nodes.back().next.push_back(i + 1);
  }
  out.starts.push_back(0);
  return out;
}

Pipelines ordered_pipelines(const std::vector<std::size_t>& order) {
  Pipelines out;
  const std::size_t size = order.size();
  // The node of place i as the count-th machine, count from 1 to i + 1.
  const auto node = [](std::size_t i, std::size_t count) { return i * (i + 1) / 2 + count - 1; };
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t count = 1; count <= i + 1; ++count) {
      out.nodes.push_back({order[i], static_cast<int>(count), {}});
      for (std::size_t j = i + 1; j < size; ++j)
        out.nodes.back().next.push_back(node(j, count + 1));
    }
    out.starts.push_back(node(i, 1));
  }
  return out;
}

double run_steps(const Pipelines& pipelines, int layers) {
  double edges = static_cast<double>(pipelines.starts.size());
  for (const Pipelines::Node& node : pipelines.nodes) {
    edges += static_cast<double>(node.next.size());
  }
  return edges * layers * layers / 2;
}

RangeCosts::RangeCosts(int layers)
    : stride_(static_cast<std::size_t>(layers) + 1), costs_(stride_ * stride_, kInfinite) {}

double& RangeCosts::at(LayerRange range) {
  return costs_[static_cast<std::size_t>(range.first) * stride_ +
                static_cast<std::size_t>(range.last)];
}

const double* RangeCosts::from(int first) const {
  return &costs_[static_cast<std::size_t>(first) * stride_];
}

std::optional<Found> run(const Search& search) { return Table(search).solve(); }

}  // namespace tandem::planner
