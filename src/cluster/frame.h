#pragma once
// What travels from stage to stage, once per tick.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::cluster {

/// A failure of a stage, on its way to the gateway in the place of the tick's result.
struct StageFailure {
  int rank = 0;
  Error error;
};

/// Down the pipeline a frame carries the tick and the hidden states (rows 0 on the way into stage
/// 0); from the last stage to the gateway it carries the result. After a failure the remaining
/// stages pass it on untouched.
struct Frame {
  Tick tick;                             // empty entries once `result` or `failure` is set
  stage::Hidden hidden;
  std::optional<TickResult> result;
  std::optional<StageFailure> failure;
};

/// Largest encoded frame, bytes; a larger length is refused before anything is allocated.
inline constexpr std::uint64_t kMaxFrameBytes = 1ULL << 30;

/// proto/tandem.proto's Frame message.
std::string encode(const Frame& frame);
/// Everything is checked: version, enum values, counts, finite sampling numbers, hidden bytes =
/// rows x cols x size. Never trusts a length it was sent.
Result<Frame> decode(std::string_view bytes);

}  // namespace tandem::cluster
