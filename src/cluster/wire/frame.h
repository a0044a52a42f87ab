#pragma once
// What travels from stage to stage, once per tick.

#include <cstdint>
#include <optional>
#include <string>

#include "cluster/wire/encoded_frame.h"
#include "stage/stage.h"
#include "tandem/error.h"
#include "tandem/limits.h"
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
  Tick tick;  // empty entries once `result` or `failure` is set
  stage::Hidden hidden;
  std::optional<TickResult> result;
  std::optional<StageFailure> failure;
};

/// Raised when the meaning of a frame changes.
inline constexpr std::uint32_t kFrameVersion = 3;
/// Longest error message in a frame, bytes; encode() cuts a longer one.
inline constexpr std::size_t kMaxFailureBytes = 4096;

/// Longest message of an entry's own error, bytes, likewise.
inline constexpr std::size_t kMaxEntryErrorBytes = 256;

/// proto/tandem.proto's Frame message. Hidden states are not copied: they are the second piece. An
/// error message is made one line of valid UTF-8.
EncodedFrame encode(const Frame& frame);
/// The form is checked: version, enum values, counts, finite numbers, hidden bytes = rows x cols x
/// size, one row for each token of an entry that is not refused. What a tick may ask for is the
/// stage's to check, by src/rules. Never trusts a length it was sent. Errors: kInternal for a
/// malformed frame, kResourceLimit for one beyond a limit.
/// The frame's hidden states stay where they lie in `bytes`, which the frame keeps.
Result<Frame> decode(std::string bytes);

}  // namespace tandem::cluster
