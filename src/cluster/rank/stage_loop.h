#pragma once
// What a rank does all day: receive a frame, compute, pass on.

#include <cstdint>

#include "cluster/link/transport.h"
#include "cluster/rank/progress_board.h"
#include "stage/stage.h"
#include "tandem/error.h"

namespace tandem::cluster {

struct RankPlace {
  int rank = 0;
  std::uint64_t epoch = 0;
};

/// Runs until the transport fails; the result is the reason: kCancelled after its close(),
/// kUnavailable when a neighbour is gone. A stage's error becomes the frame's failure and
/// travels on, as does a failure of a rank before; frames of another epoch are dropped. The calling
/// thread computes.
Error run_stage(Transport& transport, stage::Stage& stage, const RankPlace& place,
                ProgressBoard& board);

}  // namespace tandem::cluster
