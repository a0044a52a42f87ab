#pragma once
// Which tokens go into the next tick: a pure function of what is known.

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace tandem::scheduler {

/// Smallest chunk that a prompt is cut into only to keep more stages at work, tokens: below this a
/// stage reads its weights for too few rows.
inline constexpr std::uint32_t kPipelinedChunkMin = 128;
/// Chunks a stage that the waiting prompts are cut into; the pipeline's fill and drain then cost
/// under a quarter of the prefill.
inline constexpr std::uint32_t kChunksPerStage = 4;

/// What plan() knows of one live sequence.
struct SequenceView {
  std::uint64_t id = 0;
  std::uint32_t prompt = 0;     // tokens of the prompt
  std::uint32_t submitted = 0;  // prompt tokens that are in a tick already
  bool samples = true;          // the prompt's last token is followed by a draw
  bool scored = false;          // every row of the prompt has a result
  std::uint32_t top_logprobs = 0;
  bool decode_ready = false;    // its newest token is known and in no tick yet
  std::uint64_t last_tick = 0;  // number of the last tick it took part in; 0: none
};

struct PlanState {
  std::vector<SequenceView> sequences;  // in order of admission
  int stages = 1;
  int in_flight = 0;  // ticks
  std::uint32_t prefill_step_size = 2048;
  std::uint32_t rows_max = std::numeric_limits<std::uint32_t>::max();  // tokens of one tick
};

/// `count` tokens of a sequence: prompt tokens from `submitted` on, or its newest token.
struct PlannedEntry {
  std::uint64_t sequence = 0;
  std::uint32_t count = 0;
  bool decode = false;
  bool sample = false;
  bool operator==(const PlannedEntry&) const = default;
};

/// Prompt tokens that one tick may carry when `waiting` prompt tokens are to be prefilled: the step
/// size, or less so that all stages have a chunk to work on.
std::uint32_t prefill_budget(std::uint64_t waiting, int stages, std::uint32_t step_size);

/// Rows of a frame that may have a result with `top_logprobs` candidates, at least 1, so that the
/// tick's answer stays within the part of a frame that is not hidden states.
std::uint32_t result_rows_max(std::uint32_t top_logprobs);

/// Tokens that one tick may have: what a stage takes and what a frame of hidden states of
/// `row_bytes` each has room for. At least 1.
std::uint32_t tick_rows_max(std::uint64_t row_bytes);

/// The next tick's entries, or nothing when the pipeline is full or no token is ready. Decoding
/// sequences come first, an equal share of them in each of the `stages` micro-batches and the
/// longest unserved first; then prompt chunks, oldest request first, up to prefill_budget(),
/// rows_max and, for all scored rows together, result_rows_max(). Both parts are in every tick, so
/// neither can starve the other.
std::optional<std::vector<PlannedEntry>> plan(const PlanState& state);

}  // namespace tandem::scheduler
