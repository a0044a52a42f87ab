#pragma once
// Requests in, tokens out: keeps the token log, builds ticks, keeps the pipeline full.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/deadline.h"
#include "cluster/pipeline.h"
#include "scheduler/constraint.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::scheduler {

struct EngineOptions {
  int prefill_step_size = 2048;  // tokens of prompt in one tick, at least 1
  int context_max = 0;           // tokens of prompt and completion; 0: the model's limit
  int sequences_max = 64;        // sequences that hold KV together; more wait in order
  int waiting_max = 4096;        // requests that may wait; add() refuses more
  int kept_max = 4;              // ended sequences whose KV stays (Request::keep), oldest out first
};

/// One generation. All fields validated by add().
struct Request {
  std::vector<std::int32_t> prompt;    // never empty
  int max_tokens = 256;                // 0: only prefill (or score)
  std::vector<std::int32_t> stop_ids;  // the stopping id itself is reported, then finished
  SamplingParams sampling;
  bool score = false;  // report every prompt token's log-probability
  std::uint32_t top_logprobs = 0;
  /// When it ends or is cancelled its KV stays, until memory is short, for a later request whose
  /// prompt begins alike: that one computes only the rest of its prompt.
  bool keep = false;
  /// Says which tokens may come next; null: any. Of this request alone.
  std::shared_ptr<TokenConstraint> constraint;
  int priority = 0;              // higher is served first; equal ones in order of arrival
  std::uint64_t cache_salt = 0;  // computed prefixes are shared between equal salts only
};

/// kError: a stage refused the sequence's tick; Event::error says why. Other sequences go on.
enum class FinishReason { kNone, kStop, kLength, kError };

/// What happened to one request in a step.
struct Event {
  std::uint64_t sequence = 0;
  std::optional<SampledToken> token;  // a new token
  std::vector<TokenScore> scores;     // scored prompt tokens, ascending positions
  std::uint32_t prompt_done = 0;      // prompt tokens that came back so far
  std::uint32_t cached = 0;           // of these, whose KV there was: in every event the same
  FinishReason finish = FinishReason::kNone;
  std::optional<Error> error;  // set with kError
};

/// What the engine holds and has done since it was made.
struct EngineStats {
  std::uint64_t waiting = 0;             // requests that hold no KV yet
  std::uint64_t running = 0;             // requests that do
  std::uint64_t kv_tokens_used = 0;      // whole pages
  std::uint64_t kv_tokens_capacity = 0;  // of the tightest rank
  std::uint64_t prefix_hits = 0;         // requests that found a part of their prompt computed
  std::uint64_t prefix_tokens = 0;       // which was that long in all
  std::uint64_t preemptions = 0;         // sequences that lost their KV and were computed again
  std::uint64_t ticks = 0;
  std::uint64_t prompt_tokens = 0;  // computed, not found
  std::uint64_t generated_tokens = 0;
};

/// Owns the token log. Single-threaded; plan (pure) -> submit -> next -> commit. Sequences are
/// spread over stages() micro-batches; prefill chunks of one prompt follow each other through the
/// pipeline.
class Engine {
 public:
  /// `pipeline` outlives the engine. Options outside their limits are a bug of the caller.
  Engine(cluster::Pipeline& pipeline, EngineOptions options);
  ~Engine();

  /// Admits a request; returns its sequence id. Fails (kInvalidArgument) on an empty prompt, ids
  /// outside the vocabulary, or prompt + 1 > context_max; (kResourceLimit) when the prompt can
  /// never fit the ranks' KV memory or too many requests wait.
  Result<std::uint64_t> add(Request request);
  /// Ends a request and frees its KV with the next tick. Unknown or finished ids are ignored.
  void cancel(std::uint64_t sequence);
  /// True while any request is unfinished or a tick is on its way, a cancelled request's too: every
  /// tick has to be collected by step().
  bool busy() const;
  /// Fills the pipeline and waits for one result. Empty when idle. After an error the pipeline is
  /// dead: every later step returns the same error.
  Result<std::vector<Event>> step(Deadline deadline);

  /// Tokens of prompt and completion that a sequence may have.
  int context_max() const;
  EngineStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tandem::scheduler
