#pragma once
// What a range of layers takes of a machine: memory, and time of a step.
//
// A step reads the weights that its rows need once and the KV of each of its streams, and
// multiplies each row. Its time on a machine is the longer of both at the rates that the machine
// reaches (a roofline), and a fixed part for each layer and stage.

#include <array>
#include <cstdint>
#include <vector>

#include "planner/inventory.h"
#include "planner/model_shape.h"
#include "tandem/stage_info.h"

namespace tandem::planner {

/// The part of a machine's rates that steps reach, and what they cost besides, in seconds.
struct Pace {
  double read = 0;          // of the bandwidth
  double compute = 0;       // of the flops
  double layer = 0;         // each layer
  double routed_layer = 0;  // on top, each layer with routed experts
  double stage = 0;         // each stage
};

/// docs/planner.md has what these were taken from.
struct Efficiency {
  Pace cpu{.read = 0.85, .compute = 0.6, .layer = 5e-6, .routed_layer = 2e-5, .stage = 2e-4};
  Pace gpu{.read = 0.88, .compute = 0.5, .layer = 2e-5, .routed_layer = 2e-4, .stage = 3e-4};

  const Pace& of(const Machine& machine) const { return machine.gpu ? gpu : cpu; }
};

/// What is to be computed.
struct Work {
  std::uint32_t context = 4096;  // tokens of each stream, prompt and answer; 1 or more
  int concurrency = 1;           // streams; 1 or more
  std::uint32_t rows = 2048;     // of a prompt's step, where memory has room
};

/// What a stage's memory is made of, bytes.
struct StageMemory {
  std::uint64_t weights = 0;
  std::uint64_t step = 0;  // loading, or the largest step: what is more
  std::uint64_t kv = 0;    // of the whole work

  std::uint64_t total() const { return weights + step + kv; }
};

/// With the steps of the model's steps[step].
StageMemory memory_of(const ModelShape& model, LayerRange range, const Work& work,
                      std::size_t step);
/// What a rank may fill of a machine's memory: threads, page tables and the allocator's slack take
/// a part that is not counted anywhere else.
std::uint64_t usable_memory(const Machine& machine);

/// Rows of one step.
struct Step {
  double rows = 1;     // tokens that are computed
  double streams = 1;  // whose KV is read
  double depth = 0;    // tokens that each row sees
};

/// Where a step's time on a stage goes, seconds.
struct StageTime {
  double read = 0;
  double compute = 0;
  double fixed = 0;

  double total() const { return (read > compute ? read : compute) + fixed; }
};

/// Times of all ranges for one kind of step. Immutable; the model and inventory outlive it.
class StageTimes {
 public:
  StageTimes(const Model& model, const Efficiency& efficiency, const Step& step);

  StageTime of(const Machine& machine, LayerRange range) const;

 private:
  struct Sums {  // of layers [0, i)
    double bytes = 0;
    double flops = 0;
    double fixed = 0;
  };
  std::vector<Sums> prefix_of(const ModelShape& model, const Pace& pace, const Step& step) const;

  Efficiency efficiency_;
  Sums head_[2];                           // by Machine::gpu
  std::array<std::vector<Sums>, 2> sums_;  // by Machine::gpu
};

/// A hop of hidden states of `rows` from one machine to the next.
double hop_seconds(const Link& link, const ModelShape& model, double rows);
/// How long it keeps the link from the next one.
double hop_occupancy(const Link& link, const ModelShape& model, double rows);

}  // namespace tandem::planner
