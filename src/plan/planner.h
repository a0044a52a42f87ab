#pragma once
// Which machines hold which layers, how fast that is, and why. Pure.
//
// A stage's time is what it reads of memory (weights, and the KV of the context) at its machine's
// bandwidth, or what it multiplies at its machine's rate, whichever is longer, and a fixed part a
// step; a hop takes its link's latency and the hidden states' bytes at its rate. The result goes
// from the last stage back to the gateway, which runs on the first machine.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "models/model_bytes.h"
#include "plan/inventory.h"
#include "tandem/error.h"
#include "tandem/stage_info.h"

namespace tandem::plan {

enum class Objective {
  kLatency,     // tokens a second of one stream
  kThroughput,  // tokens a second of all streams
  kFit,         // memory that the fullest machine has left, as a part of its own
};

/// What is to be computed.
struct Work {
  int context = 4096;   // tokens of each stream
  int concurrency = 1;  // streams
  std::uint32_t rows = 512;  // of a prompt's step
  Objective objective = Objective::kLatency;
  bool keep_order = false;  // machines in their order, none left out
};

/// The part of its machine's rates that a stage reaches, and what a step costs besides. Measured on
/// this project's own machines: docs/performance.md.
struct Efficiency {
  double read = 0.8;
  double compute = 0.6;
  double step = 0.0003;  // seconds a stage
};

/// A model on both kinds of devices; both have the same layers.
struct ModelOn {
  models::ModelBytes cpu;
  models::ModelBytes gpu;

  const models::ModelBytes& of(const Machine& machine) const { return machine.gpu ? gpu : cpu; }
};

struct StagePlan {
  std::size_t machine = 0;
  LayerRange layers;
  std::uint64_t memory = 0;  // bytes: weights, loading or steps, KV of the work
  double decode = 0;         // seconds a token of one stream, its hop to it included
};

struct Plan {
  std::vector<StagePlan> stages;  // in the order of the layers
  double prompt_tps = 0;
  double decode_tps = 0;      // of one stream
  double concurrent_tps = 0;  // of Work::concurrency streams together
  std::string limited_by;     // "reading memory on mac1 (62 % of a token)"
  std::string advice;         // the one change that helps most, and by how much
};

/// The best plan. Exact up to kExactMachines machines, whose order and number are then free; with
/// more the order is the inventory's, and machines may be left out. kResourceLimit: it fits nowhere;
/// the message says by how many bytes.
Result<Plan> make_plan(const ModelOn& model, const Inventory& inventory, const Work& work,
                       const Efficiency& efficiency = {});

inline constexpr std::size_t kExactMachines = 7;

/// Speeds of stages that are given: machines and layers of `stages` are read, the rest is filled in.
Plan predict(std::vector<StagePlan> stages, const ModelOn& model, const Inventory& inventory,
             const Work& work, const Efficiency& efficiency = {});

/// Bytes that layers take on a machine for this work.
std::uint64_t memory_of(const models::ModelBytes& model, LayerRange range, const Work& work);

}  // namespace tandem::plan
