#pragma once
// The gateway's view of the stages: ticks in, results out.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "cluster/rank_work.h"
#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::cluster {

/// How a rank fares, as of its last heartbeat.
struct RankState {
  RankWork work;
  RankRates rates;
  std::uint64_t resident_bytes = 0;     // of the rank's process
  std::uint64_t memory_free_bytes = 0;  // of its machine, for more
  std::uint64_t kv_bytes = 0;           // held for sequences
  /// One way, milliseconds, half of a round trip: from the rank before (the first: from the
  /// gateway), and from the last rank back to the gateway. nullopt: no link, or not measured (yet).
  std::optional<double> link_ms = {};
  std::optional<double> return_ms = {};
  std::optional<double> heartbeat_ms = {};  // round trip between the gateway and the rank's worker
};

/// Who holds what, after loading.
struct RankInfo {
  int rank = 0;
  std::string host;  // "local" or host:port
  stage::StageInfo stage;
  std::uint64_t memory_bytes = 0;  // the most that the rank's process was seen to hold in RAM
  std::string device = {};         // what computes, for people
  RankState state = {};
};

/// Called while ranks load: bytes ready and in all of one rank.
using RankProgress = std::function<void(int rank, std::uint64_t done, std::uint64_t total)>;

/// A loaded pipeline of stages(). One thread calls submit() and next(). Results come back in the
/// order of submission. After kUnavailable or kDeadlineExceeded the pipeline is dead.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  /// Ranks in pipeline order. Any thread, while the pipeline lives.
  virtual std::vector<RankInfo> ranks() = 0;
  virtual int stages() const = 0;

  /// Puts a tick in flight. At most stages() ticks should be in flight: more only queue up.
  virtual Status submit(Tick tick) = 0;
  /// The next result. A tick that a stage refused comes back as that stage's error, naming the
  /// rank; the pipeline lives on when its code is kInvalidArgument or kResourceLimit. A rank that
  /// died or stalled is an error that names it, noticed without waiting for `deadline`.
  virtual Result<TickResult> next(Deadline deadline) = 0;
  /// Why the pipeline is dead, known also while no tick is in flight. The thread of next().
  virtual std::optional<Error> failure() { return std::nullopt; }
};

/// One stage in this process, no sockets. submit() computes nothing: next() does.
Result<std::unique_ptr<Pipeline>> local_pipeline(const stage::StageOptions& options,
                                                 const RankProgress& progress);

}  // namespace tandem::cluster
