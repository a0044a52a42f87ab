#pragma once
// The gateway's view of the stages: ticks in, results out.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "tandem/deadline.h"
#include "tandem/error.h"
#include "tandem/rank_info.h"
#include "tandem/tick.h"

namespace tandem {

/// Called while ranks load: bytes ready and in all of one rank.
using RankProgress = std::function<void(int rank, std::uint64_t done, std::uint64_t total)>;

/// A loaded pipeline of stages(). One thread calls submit() and next(). Results come back in the
/// order of submission.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  /// Ranks in pipeline order. Any thread, while the pipeline lives.
  virtual std::vector<RankInfo> ranks() = 0;
  virtual int stages() const = 0;

  /// Puts a tick in flight. At most stages() ticks should be in flight: more only queue up.
  virtual Status submit(Tick tick) = 0;
  /// The next result. What concerns one sequence stands in its entry's result; an error is one of
  /// the pipeline, which is dead then: a computation that failed names its rank, a rank that died
  /// or stalled is noticed without waiting for `deadline`.
  virtual Result<TickResult> next(Deadline deadline) = 0;
  /// Why the pipeline is dead, known also while no tick is in flight: kUnavailable when no input
  /// can have caused it (a rank was killed, a host or a link is gone). The thread of next().
  virtual std::optional<Error> failure() { return std::nullopt; }
};

}  // namespace tandem
