#pragma once
// Which machines should hold which layers of a model, how fast that is and what would help; or why
// nothing fits. Not the scheduler's plan of a tick nor the plan that a rank is told to load. Pure.

#include <cstdint>
#include <string>
#include <vector>

#include "planner/prediction.h"

namespace tandem::planner {

enum class Objective {
  kLatency,     // most tokens a second of one stream
  kThroughput,  // most of all streams together
  kFit,         // most memory left where least is, as a part; then latency
};

/// Stages, each a machine with its layers and memory: what `tandem plan` prints and a gateway
/// loads.
struct Plan {
  bool fits = false;
  /// All pipelines were looked at. Where they are too many, machines stay in the inventory's order;
  /// any may be left out.
  bool exact = true;
  Prediction prediction;            // where it fits
  std::vector<std::size_t> unused;  // machines, ascending
  std::uint32_t context = 0;        // tokens of a stream that there is room for, of those wanted
  std::uint64_t missing_bytes = 0;  // where it does not: least memory that one machine lacks
  std::string advice;               // the one change that helps most, and by how much
};

/// The model has at most kLayersMax layers.
Plan make_plan(const Setting& setting, Objective objective);

/// How a gateway uses the machines that it is given.
enum class Use {
  kBest,  // those and in the order that is best
  kAll,   // all, in their order, each with one layer at least
  kEven,  // all, each with as even a part of a step's time as can be: for ranks of one machine,
          // that take turns and for which any other split is as fast
};
/// What a gateway does: without advice, and for kLatency layers lie more evenly where that costs
/// little, because figures are measured to a few percent and prompts flow better. Where there is no
/// room for the work's context, the longest that there is room for. fits is false where there is
/// none at all, or fewer layers than machines that all have to hold some.
Plan place(const Setting& setting, Objective objective, Use use);
/// The plan of given ranges, with its speed whether they fit or not.
Plan plan_of(const Setting& setting, const std::vector<Placed>& stages);

/// Pipelines of a search that goes through all of them, if that takes seconds; else those in the
/// inventory's order.
struct Reach {
  Pipelines pipelines;
  bool exact = true;
};
Reach pipelines_of(const Setting& setting, Objective objective);

/// Fewer and cheaper pipelines: machines in the order given, any left out. Empty: none fits.
std::vector<Placed> best_in_order(const Setting& setting, Objective objective,
                                  const std::vector<std::size_t>& order);

/// What a setting is worth for an objective: tokens a second, or a part of memory.
double worth(const Prediction& prediction, Objective objective);

}  // namespace tandem::planner
