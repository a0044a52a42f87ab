#pragma once
// The gateway's list of ranks: who they are, and the steps that bring them up.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cluster/gateway/launcher.h"
#include "cluster/gateway/local_worker.h"
#include "cluster/gateway/ring_watch.h"
#include "cluster/gateway/worker_client.h"
#include "cluster/link/ring_end.h"
#include "cluster/trust/credentials.h"
#include "models/decoder.h"
#include "planner/inventory.h"
#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::cluster {

/// Between processes of one machine, unless it is measured.
inline constexpr planner::Link kLoopback{1e-4, 2e9};

/// One rank, in the order of its coming up.
struct Member {
  config::Host host;
  LocalWorker* process = nullptr;  // null: on a host
  std::unique_ptr<WorkerClient> client;
  LayerRange layers;
  bool gpu = false;                // what it computes on
  std::uint64_t memory_free = 0;   // of a host's device, before loading; 0: not known
  std::string machine;             // hosts of one running system have the same; empty: not known
  double read_rate = 0;            // bytes a second, by the threads that it will have; 0: not known
  double flops = 0;                // a second, likewise
  planner::Link way = kLoopback;   // from the gateway
  std::uint64_t memory_share = 0;  // of a machine that ranks share; 0: what its device has free
  StageInfo info;                  // after load_all()
  std::uint64_t memory_bytes = 0;
  std::string device;
  std::string link;  // host:port where the predecessor dials
};
using Members = std::vector<Member>;

/// "rank 1 (127.0.0.1:4001, layers 8..15)"; layers are left out before they are known.
std::string name_of(int rank, const Member& member);

/// Starts those local workers that do not run already, or takes the hosts, and says Hello to all.
/// On return every client is connected.
Result<Members> gather(const PipelineOptions& options, LocalWorkers& local,
                       const Credentials& credentials);

/// What one plan has in common for all ranks.
struct RingPlan {
  std::string gateway;  // its name
  std::string cluster;
  std::uint64_t epoch = 0;
  std::string transport;
  std::string mlx_backend;
  std::string model_hash;
};

/// Loads every rank's layers at the same time; members' info, memory and link are filled in.
Status load_all(Members& members, const stage::StageOptions& options, const RingPlan& plan,
                RingWatch& watch, const RankProgress& progress);
/// Joins the ring, the gateway's own end among the others.
Status join_all(Members& members, const RingPlan& plan, RingEnd& gateway, RingWatch& watch);

}  // namespace tandem::cluster
