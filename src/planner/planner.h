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

struct Proposal {
  bool fits = false;
  /// All pipelines were looked at. Where they are too many, machines stay in the inventory's order;
  /// any may be left out.
  bool exact = true;
  Prediction prediction;            // where it fits
  std::vector<std::size_t> unused;  // machines, ascending
  std::uint64_t missing_bytes = 0;  // where it does not: least memory that one machine lacks
  std::string advice;               // the one change that helps most, and by how much
};

/// The model has at most kLayersMax layers.
Proposal make_plan(const Setting& setting, Objective objective);

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
