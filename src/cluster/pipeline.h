#pragma once
// The gateway's view of the stages: ticks in, results out.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::cluster {

/// Who holds what, after loading.
struct RankInfo {
  int rank = 0;
  std::string host;  // "local" or host:port
  stage::StageInfo stage;
  std::uint64_t memory_bytes = 0;  // the most that the rank's process was seen to hold in RAM
};

/// Called while ranks load: bytes ready and in all of one rank.
using RankProgress = std::function<void(int rank, std::uint64_t done, std::uint64_t total)>;

/// A loaded pipeline of stages(). One thread calls submit() and next(). Results come back in the
/// order of submission. After kUnavailable or kDeadlineExceeded the pipeline is dead.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  /// Ranks in pipeline order. memory_bytes is as of the last heartbeat.
  virtual std::vector<RankInfo> ranks() = 0;
  virtual int stages() const = 0;

  /// Puts a tick in flight. At most stages() ticks should be in flight: more only queue up.
  virtual Status submit(Tick tick) = 0;
  /// The next result. A tick that a stage refused comes back as that stage's error, naming the
  /// rank; the pipeline lives on when its code is kInvalidArgument or kResourceLimit. A rank that
  /// died or stalled is an error that names it, noticed without waiting for `deadline`.
  virtual Result<TickResult> next(Deadline deadline) = 0;
};

/// One stage in this process, no sockets. submit() computes nothing: next() does.
Result<std::unique_ptr<Pipeline>> local_pipeline(const stage::StageOptions& options,
                                                 const RankProgress& progress);

}  // namespace tandem::cluster
