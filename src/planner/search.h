#pragma once
// The best way to cut layers into contiguous ranges over machines in any order: dynamic
// programming over which machines are used, which one is last, and how many layers are done. Pure.

#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "planner/inventory.h"
#include "tandem/stage_info.h"

namespace tandem::planner {

/// Which machine holds which layers.
struct Placed {
  std::size_t machine = 0;
  LayerRange layers;
  bool operator==(const Placed&) const = default;
};

/// Machines of a class can change places: all figures and links are the same.
struct MachineClasses {
  std::vector<std::size_t> of;                    // by machine
  std::vector<std::vector<std::size_t>> members;  // by class, machines ascending
};
MachineClasses classes_of(const Inventory& inventory);

/// Pipelines that a search goes through, as paths: a node is a machine behind those that are used.
struct Pipelines {
  struct Node {
    std::size_t machine = 0;
    int count = 1;                  // machines up to here
    std::vector<std::size_t> next;  // nodes, all behind this one
  };
  std::vector<Node> nodes;
  std::vector<std::size_t> starts;
};
/// Any machines in any order, each class's in one order; nullopt: more than `nodes_max` nodes.
std::optional<Pipelines> all_pipelines(const MachineClasses& classes, std::size_t nodes_max);
/// Those of `order` in this order, any of them left out.
Pipelines ordered_pipelines(const std::vector<std::size_t>& order);
/// All of `order`, in this order; parts of it too, unless a search wants their number.
Pipelines whole_pipeline(const std::vector<std::size_t>& order);
/// Ranges that one run() looks at, at most.
double run_steps(const Pipelines& pipelines, int layers);

inline constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// What each range costs on one machine; infinite where it may not be.
class RangeCosts {
 public:
  explicit RangeCosts(int layers = 0);
  double& at(LayerRange range);
  /// Costs of ranges from `first` on, by their ends 0 to the number of layers.
  const double* from(int first) const;

 private:
  std::size_t stride_;
  std::vector<double> costs_;
};

/// What hops between machines cost.
struct HopCosts {
  std::vector<double> begin;                   // from the gateway, by machine
  std::vector<double> end;                     // back to it
  std::vector<std::vector<double>> between;    // [from][to]
  std::vector<std::vector<double>> occupancy;  // that a stage_limit holds for too
};

struct Search {
  enum class Of { kSum, kLargest };

  const Pipelines& pipelines;
  const std::vector<const RangeCosts*>& stages;  // by machine; along a range they do not fall
  const HopCosts& hops;
  int layers = 0;
  Of of = Of::kSum;                // kLargest: of stages alone
  double stage_limit = kInfinite;  // no stage or occupancy is more
  double bound = kInfinite;        // only what is less is wanted
  int count = 0;                   // machines; 0: any number
};

struct Found {
  double cost = 0;
  std::vector<Placed> stages;  // in the order of the layers, all of them covered
};
/// nullopt: there is none.
std::optional<Found> run(const Search& search);

}  // namespace tandem::planner
