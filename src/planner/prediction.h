#pragma once
// How fast a given pipeline is, and what limits it. Pure.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "planner/inventory.h"
#include "planner/model_shape.h"
#include "planner/search.h"
#include "planner/stage_cost.h"

namespace tandem::planner {

/// What is planned for what: outlives all that is made of it.
struct Setting {
  const Model& model;
  const Inventory& inventory;
  Work work;
  Efficiency efficiency = {};
};

struct StagePrediction {
  Placed place;
  StageMemory memory;  // with the largest steps that all stages have room for
  StageTime decode;    // of a token of one stream
  double hop = 0;      // seconds to it from the stage before, or from the gateway
};

struct Prediction {
  std::vector<StagePrediction> stages;  // in the order of the layers
  std::uint32_t prompt_rows = 0;        // of a prompt's step
  double prompt_tps = 0;                // of one prompt of the work's context
  double decode_tps = 0;                // of one stream at the end of its context
  double concurrent_tps = 0;            // of all streams together, each at its end
  double free_part = 0;                 // least of any machine's usable memory
  std::string limited_by;  // "hops (62 % of a token's time), most of it from a to b (40 %)"
};

/// The stages' memory must fit.
Prediction predict(const Setting& setting, const std::vector<Placed>& stages);

/// Streams are divided over the stages, so that each computes while others do.
struct MicroBatches {
  int count = 1;    // at most one a stage
  double rows = 1;  // streams of each, rounded up
};
MicroBatches micro_batches(const Work& work, std::size_t stages);

/// Of a decode step of `rows` streams.
Step decode_step(const Work& work, double rows);

/// Seconds that hops take of a round through the stages, and how long they keep links.
HopCosts hop_costs(const Setting& setting, double rows);

}  // namespace tandem::planner
