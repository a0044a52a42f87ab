#pragma once
// From options to a loaded pipeline: in this process, over local workers, or over hosts.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/gateway/local_worker.h"
#include "cluster/gateway/quarantine.h"
#include "cluster/trust/security.h"
#include "config/hosts.h"
#include "planner/planner.h"
#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::cluster {

/// How frames travel between ranks.
enum class TransportKind { kGrpc, kMlx };

/// How workers know a gateway.
struct GatewayName {
  std::string name;         // random
  std::uint64_t epoch = 0;  // of its pipeline; every opening has a greater one
};

/// What a pipeline is split for.
struct PipelineWork {
  planner::Objective objective = planner::Objective::kLatency;
  int streams = 1;  // at once; 1 or more
  int context = 0;  // tokens of each; 0: kPlannedContext, or the model's if that is less
};
inline constexpr int kPlannedContext = 4096;

/// What `generate`, `chat`, `score`, `bench` and `serve` open.
struct PipelineOptions {
  std::string version;  // of this program, for people
  /// folder, gpu (of local ranks), mlx_kernels, activations, isa, threads (of each rank) and
  /// kv_bytes_max (of each rank); layers is ignored, the plan fills it in.
  stage::StageOptions stage;
  /// Whether stage.activations is wanted; else hosts get what all their devices compute well: bf16
  /// if any has a GPU, else int8. It is one for all, the type in which hidden states travel.
  bool activations_given = false;
  std::vector<LayerRange> layers;  // of each rank; empty: the plan's
  PipelineWork work;
  bool all_hosts = false;  // hold layers, in their order; else those that make it fastest
  std::vector<bool> gpus;  // of each rank; empty: local ones as stage.gpu says, hosts as they like
  int ranks = 1;           // local processes, when hosts is empty; at least 1
  std::vector<config::Host> hosts;  // workers that run already, in rank order
  TransportKind transport = TransportKind::kGrpc;
  std::string mlx_backend = "ring";  // with kMlx: "ring", "mpi", "nccl", "jaccl"
  SecurityOptions security;          // for hosts; local workers get a key of their own
};

/// Who holds what of a model: the planner's stages, by the hosts that they were planned for.
struct Placement {
  std::vector<config::Host> hosts;
  std::vector<planner::Placed> stages;  // machine: an index of hosts; empty: nothing yet
};

/// What a gateway knows from one pipeline to the next.
struct Standing {
  LocalWorkers local;
  Quarantine quarantine;
  /// Of its first pipeline, so that requests go on to the same tokens on fewer hosts too.
  std::optional<kernels::Activations> activations;
  Placement placement;
};

/// Opens pipelines, one at a time, under a name that workers know it by: a rank that one of its
/// earlier pipelines left behind gives way to the new one, and keeps the layers that both want.
/// Local workers run from the first pipeline on. A host that dies again and again is left out for a
/// while where the others can hold its layers. Outlives its pipelines.
class Launcher {
 public:
  /// `note` is told what was decided and why, and which hosts a pipeline runs without, in lines for
  /// people.
  explicit Launcher(std::function<void(const std::string& line)> note = {});

  /// One local rank and no hosts: the stage runs in this process. Otherwise starts `tandem worker`
  /// processes (or connects to `hosts`), compares generations, plans who holds which layers, loads
  /// all ranks at the same time and joins the ring. `progress` is called from the calling thread.
  /// kInvalidArgument: more ranks than layers, another generation, a bad model; kUnavailable,
  /// kDeadlineExceeded: a worker that cannot be reached, is busy, died, or died so often that it
  /// rests, named. Call it from a thread that outlives the pipeline: on Linux the local workers die
  /// with the thread that started them.
  Result<std::unique_ptr<Pipeline>> open(const PipelineOptions& options,
                                         const RankProgress& progress);

 private:
  Result<std::unique_ptr<Pipeline>> open_without(const PipelineOptions& options,
                                                 const std::vector<config::Host>& kept,
                                                 const Error& resting,
                                                 const RankProgress& progress);

  const std::function<void(const std::string& line)> note_;
  GatewayName name_;
  Standing standing_;
};

/// Ends the process after flushing stdio, without running destructors of static objects: the `mlx`
/// transport's collective cannot be cancelled, so its thread may still run after a rank was lost.
/// The way to leave after a pipeline failed. Destroy the pipeline first.
[[noreturn]] void exit_process(int code);

}  // namespace tandem::cluster
