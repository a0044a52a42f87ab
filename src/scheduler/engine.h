#pragma once
// Requests in, tokens out: keeps the token log, builds ticks, keeps the pipeline full.

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "scheduler/constraint.h"
#include "tandem/deadline.h"
#include "tandem/error.h"
#include "tandem/pipeline.h"
#include "tandem/tick.h"

namespace tandem::scheduler {

struct EngineOptions {
  int prefill_step_size = 2048;  // tokens of prompt in one tick, at least 1
  /// Tokens of prompt in a tick while others wait for their next token. 0: as many as let a tick
  /// take less than twice its time, by what ticks were measured to take.
  int mixed_rows = 0;
  int context_max = 0;     // tokens of prompt and completion; 0: the model's limit
  int sequences_max = 64;  // sequences that run together; more wait in order
  int waiting_max = 4096;  // requests that may wait; add() refuses more
  /// KV of ended sequences that stays for prompts that begin alike, bytes of all ranks together; 0:
  /// none. It gives way to running ones, so by default it is all the memory that these leave.
  std::uint64_t prefix_bytes = std::numeric_limits<std::uint64_t>::max();
  /// What time it is, for measuring ticks.
  std::function<Clock::time_point()> now = Clock::now;
};

/// One generation. All fields validated by add().
struct Request {
  std::vector<std::int32_t> prompt;    // never empty
  int max_tokens = 256;                // 0: only prefill (or score)
  std::vector<std::int32_t> stop_ids;  // the stopping id itself is reported, then finished
  SamplingParams sampling;
  bool score = false;  // report every prompt token's log-probability
  std::uint32_t top_logprobs = 0;
  /// Says which tokens may come next; null: any. Of this request alone.
  std::shared_ptr<TokenConstraint> constraint;
  int priority = 0;              // lower is served first; equal ones in order of arrival
  std::uint64_t cache_salt = 0;  // computed prefixes are shared between equal salts only
};

/// kError: a stage refused the sequence, its logits are no numbers, or its constraint failed;
/// Event::error says why. Other sequences go on.
enum class FinishReason { kNone, kStop, kLength, kError };

/// The log-probability of a prompt's token, given everything before it.
struct TokenScore {
  std::uint32_t position = 0;  // of the token; the first one of a sequence has none
  TokenResult token;
};

/// What happened to one request in a step.
struct Event {
  std::uint64_t sequence = 0;
  std::optional<TokenResult> token;  // a new token
  std::vector<TokenScore> scores;    // scored prompt tokens, ascending positions
  std::uint32_t prompt_done = 0;     // prompt tokens that came back so far
  std::uint32_t cached = 0;          // of these, whose KV there was; in every event the same
  /// When the pipeline was given the step that this came of; the epoch when it came of none.
  Clock::time_point submitted{};
  FinishReason finish = FinishReason::kNone;
  std::optional<Error> error;  // set with kError
};

/// What the engine holds and has done since it was made.
struct EngineStats {
  std::uint64_t waiting = 0;             // requests that are not in any tick
  std::uint64_t running = 0;             // requests that are
  std::uint64_t kv_tokens_used = 0;      // by running requests, whole pages; slots as so many
  std::uint64_t kv_tokens_idle = 0;      // by beginnings that are kept for later requests
  std::uint64_t kv_tokens_capacity = 0;  // of the tightest rank
  std::uint64_t prefix_hits = 0;         // times that a request found its beginning computed
  std::uint64_t prefix_tokens = 0;       // which were so many tokens
  std::uint64_t preemptions = 0;         // times that a request lost its KV to another
  std::uint64_t ticks = 0;
  std::uint64_t prompt_tokens = 0;     // computed, of prompts and of what was lost
  std::uint64_t generated_tokens = 0;  // reported
  /// From submission to result, of all ticks that there was an expectation for, and what that was.
  double timed_seconds = 0;
  double expected_seconds = 0;
};

/// Owns the token log. Single-threaded; plan (pure) -> submit -> next -> commit. Requests join and
/// leave at every tick, by priority and then in order of arrival. Sequences are spread over
/// stages() micro-batches; prefill chunks of one prompt follow each other through the pipeline, a
/// few tokens at a time while others answer. KV is given page by page: when it runs out, the last
/// in order loses its own and is computed again from the log later, to the same tokens. A prompt
/// that begins like another one, running or ended, shares its pages.
class Engine {
 public:
  /// `pipeline` outlives the engine. Options outside their limits are a bug of the caller.
  Engine(Pipeline& pipeline, EngineOptions options);
  ~Engine();

  /// Admits a request; returns its sequence id. Fails (kInvalidArgument) on what check_request()
  /// refuses and on a prompt that can never fit the ranks' KV memory; (kResourceLimit), which is
  /// nobody's mistake, when too many requests wait.
  Result<std::uint64_t> add(Request request);
  /// Ends a request and frees its KV with the next tick. Unknown or finished ids are ignored.
  void cancel(std::uint64_t sequence);
  /// True while any request is unfinished or a tick is on its way, a cancelled request's too: every
  /// tick has to be collected by step().
  bool busy() const;
  /// Fills the pipeline, waits for one result and, with several stages, fills it again: they
  /// compute while the caller deals with the events. Empty when idle. After an error the pipeline
  /// is dead: every later step returns the same error, until pipeline_reopened().
  Result<std::vector<Event>> step(Deadline deadline);
  /// The pipeline failed for `reason` and was opened anew, with nothing in it: every unfinished
  /// request is computed again from its log, to the same tokens; all at once after kUnavailable (a
  /// rank, a host or a link is gone), else those that were on their way one after the other, since
  /// one of them may have caused it. One that was on its way in several failures in a row, or that
  /// has no room any more, ends with kError.
  void pipeline_reopened(const Error& reason);

  /// Tokens of prompt and completion that a sequence may have: by the model, the options and the
  /// KV memory.
  int context_max() const;
  EngineStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tandem::scheduler
