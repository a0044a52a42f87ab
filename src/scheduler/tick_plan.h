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
/// Ticks a stage in a turn of those that are no suspects; a suspect's turn has one a stage. Its
/// ticks are chunks of a prompt, theirs are short.
inline constexpr std::uint64_t kTurnTicks = 4;

/// What plan_tick() knows of one running sequence.
struct SequenceView {
  std::uint64_t id = 0;         // its name in the stages
  std::uint32_t total = 0;      // tokens that are known
  std::uint32_t submitted = 0;  // of which so many are in a tick already
  bool answering = false;       // it has drawn a token: with one token left it decodes
  bool samples = true;          // its last known token is followed by a draw
  bool scored = false;          // rows of its prompt have results
  bool alone = false;           // a suspect: a pipeline failed with it on its way
  bool copies_page = false;     // its next token takes a copy of a page that others use
  std::uint64_t let_go = 0;     // pages that its pending tokens take and give back on the way
  std::uint32_t to_stop = 0;    // a chunk has no more tokens, for what is kept there; 0: no limit
  std::uint32_t top_logprobs = 0;
  std::uint64_t entry_bytes = 0;  // of its entry in a frame, besides the tokens
  std::uint64_t last_tick = 0;    // number of the last tick it took part in; 0: none
  std::int64_t priority = 0;      // lower is served first
  std::int64_t passed = 0;        // see PromptQueue::Prompt

  std::uint32_t pending() const { return total - submitted; }
  bool decodes() const { return answering && pending() <= 1; }
  /// Whether tokens of its prompt, or lost ones, wait to be computed beside others.
  bool is_prompt() const { return pending() > 0 && !decodes() && !alone; }
};

/// Whose ticks the last ones were, and how many in a row.
struct Turn {
  bool suspects = false;
  std::uint64_t ticks = 0;

  void took(bool suspect) {
    ticks = suspect == suspects ? ticks + 1 : 1;
    suspects = suspect;
  }
};

struct PlanState {
  std::vector<SequenceView> sequences;  // in the order of service: the first gets memory first
  int stages = 1;
  int in_flight = 0;  // ticks
  Turn turn;
  std::uint32_t prefill_step_size = 2048;
  std::uint32_t mixed_rows = 8;  // rows of prompts in a tick while any sequence decodes, at least 1
  std::uint32_t rows_max = std::numeric_limits<std::uint32_t>::max();    // tokens of one tick
  std::uint64_t free_pages = std::numeric_limits<std::uint64_t>::max();  // of all groups at once
};

/// `count` tokens of a sequence from `submitted` on.
struct PlannedEntry {
  std::uint64_t sequence = 0;
  std::uint32_t count = 0;
  bool decode = false;  // a drawn token, not a prompt's or a rebuilt one
  bool sample = false;
  bool operator==(const PlannedEntry&) const = default;
};

struct TickPlan {
  std::vector<PlannedEntry> entries;     // none: no tick
  std::optional<std::uint64_t> preempt;  // this one has to lose its KV first, then plan again
};

/// Prompt tokens that one tick may carry when `waiting` prompt tokens are to be prefilled: the step
/// size, or less so that all stages have a chunk to work on.
std::uint32_t prefill_budget(std::uint64_t waiting, int stages, std::uint32_t step_size);

/// Tokens that one tick may have: what a stage takes and what a frame of hidden states of
/// `row_bytes` each has room for. At least 1.
std::uint32_t tick_rows_max(std::uint64_t row_bytes);

/// The next tick's entries, or none when the pipeline is full or no token is ready. An equal share
/// of the decoding sequences in each of the `stages` micro-batches, the longest unserved first, and
/// prompt chunks in the order of a PromptQueue, up to prefill_budget() or, while any sequence
/// decodes, mixed_rows. Both parts are in every tick, so neither can starve the other. Rows, the
/// bytes of the tick and of its answer, and pages stay within their limits. Pages go by the order
/// of service: who passes others leaves what these need, and who is first gets a page even if the
/// last one in order has to be preempted for it. While there is a suspect it and the others take
/// turns: nothing else is on its way with it, so that the next failure tells whose fault it is, and
/// streams go on meanwhile.
TickPlan plan_tick(const PlanState& state);

}  // namespace tandem::scheduler
