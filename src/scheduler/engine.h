#pragma once
// Requests in, tokens out: keeps the token log, builds ticks, keeps the pipeline full.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/deadline.h"
#include "cluster/pipeline.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::scheduler {

struct EngineOptions {
  int prefill_step_size = 2048;  // tokens of prompt in one tick, at least 1
  int context_max = 0;           // tokens of prompt and completion; the model's limit
};

/// One generation. All fields validated by add().
struct Request {
  std::vector<std::int32_t> prompt;    // never empty
  int max_tokens = 256;                // 0: only prefill (or score)
  std::vector<std::int32_t> stop_ids;  // sorted; the stopping id itself is reported, then finished
  SamplingParams sampling;
  bool score = false;                  // report every prompt token's log-probability
  std::uint32_t top_logprobs = 0;
};

enum class FinishReason { kNone, kStop, kLength };

/// What happened to one request in a step.
struct Event {
  std::uint64_t sequence = 0;
  std::optional<SampledToken> token;   // a new token
  std::vector<TokenScore> scores;      // scored prompt tokens, ascending positions
  std::uint32_t prompt_done = 0;       // prompt tokens that came back so far
  FinishReason finish = FinishReason::kNone;
};

/// Owns the token log. Single-threaded; plan (pure) -> submit -> next -> commit. Sequences are spread
/// over stages() micro-batches; prefill chunks of one prompt follow each other through the pipeline.
class Engine {
 public:
  Engine(cluster::Pipeline& pipeline, EngineOptions options);
  ~Engine();

  /// Admits a request; returns its sequence id. Fails (kInvalidArgument) on an empty prompt, ids
  /// outside the vocabulary, or prompt + 1 > context_max.
  Result<std::uint64_t> add(Request request);
  /// Ends a request and frees its KV with the next tick.
  void cancel(std::uint64_t sequence);
  /// True while any request is unfinished.
  bool busy() const;
  /// Fills the pipeline and waits for one result. Empty when idle.
  Result<std::vector<Event>> step(Deadline deadline);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tandem::scheduler
