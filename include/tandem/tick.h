#pragma once
// A Tick: everything the stages of a pipeline have to know for one step, and what comes of it.
// Plain data.

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "tandem/error.h"

namespace tandem {

/// How the next token of a sequence is drawn. Defaults are greedy. Same names and meanings as
/// mlx-lm's sampler and logits processors, but for the contexts of 0. src/rules/sampling.h has the
/// ranges.
struct SamplingParams {
  float temperature = 0;                         // 0: greedy
  float top_p = 1;                               // (0, 1]; 1: off
  std::int32_t top_k = 0;                        // 0: off
  float min_p = 0;                               // [0, 1); 0: off
  std::int32_t min_tokens_to_keep = 1;           // floor of min_p
  float xtc_probability = 0;                     // [0, 1]; 0: off
  float xtc_threshold = 0.1F;                    // [0, 0.5]
  std::vector<std::int32_t> xtc_special_tokens;  // never removed by xtc (newline, eos)
  /// The three penalties look at the last tokens of the text, as many as their context says.
  float repetition_penalty = 0;          // 0: off
  std::int32_t repetition_context = 20;  // 0: the whole text
  float presence_penalty = 0;            // 0: off
  std::int32_t presence_context = 20;    // 0: what was generated, as OpenAI has it
  float frequency_penalty = 0;           // 0: off
  std::int32_t frequency_context = 20;   // 0: what was generated
  std::vector<std::pair<std::int32_t, float>> logit_bias;  // token id, added before anything else
  std::uint64_t seed = 0;  // the draw at position p is f(seed, p) only
};

/// What is wanted of the logits after one token of an entry.
struct Want {
  enum class Kind : std::uint8_t { kScore, kDraw };
  Kind kind = Kind::kDraw;
  std::uint32_t row = 0;           // of the entry: the logits after tokens[row]
  std::int32_t token = 0;          // kScore: whose log-probability
  std::uint32_t top_logprobs = 0;  // candidates to return with it
  /// kDraw: the tokens that may be drawn, bit i % 32 of word i / 32 for token i. As many words as
  /// the vocabulary needs, at least one bit set, none beyond it. Empty: every token.
  std::vector<std::uint32_t> allowed = {};
};

/// Stands in tokens[0] for what TickEntry::drawn_in says.
inline constexpr std::int32_t kDrawnToken = -1;

/// The new tokens of one sequence in a tick.
struct TickEntry {
  std::uint64_t sequence = 0;        // chosen by the gateway, unique among live sequences
  std::uint32_t position = 0;        // of tokens[0]; everything before it is already cached
  std::vector<std::int32_t> tokens;  // never empty
  /// Not 0: tokens[0] is kDrawnToken, the last token that tick `drawn_in` drew for this sequence:
  /// so a step can be sent before the answer to the one before is read. Who embeds has to know what
  /// was drawn, so only a stage that does both takes it (StageInfo::feeds_itself()); a ring in
  /// which the last rank tells the first would be another way.
  std::uint64_t drawn_in = 0;
  /// In order of rows, of a row at most a score and then a draw. None: the tokens are only cached.
  std::vector<Want> wants;
  std::optional<SamplingParams> sampling;  // set in a sequence's first tick, kept by the last stage
  std::uint32_t prompt =
      0;  // with `sampling`: tokens of the sequence that were given, not generated
  /// Set by the first stage that refuses the entry. Its rows are not among the hidden states from
  /// there on, and that stage and all after it free the sequence; the gateway frees it everywhere
  /// with a later tick. Entries of ticks on their way meanwhile are refused in the same places.
  std::optional<Error> refused = std::nullopt;
};

/// A change of what the stages keep of a sequence, applied before the entries, in order.
struct StateOp {
  enum class Kind : std::uint8_t { kFree, kRewind, kFork };
  Kind kind = Kind::kFree;
  std::uint64_t sequence = 0;
  std::uint64_t source = 0;  // kFork: whose first `length` tokens `sequence` starts with
  std::uint32_t length = 0;  // kRewind, kFork: tokens kept
};

/// One step. Travels from stage to stage with the hidden states of its entries, which are the
/// entries' tokens in order, one row a token.
struct Tick {
  std::uint64_t epoch = 0;   // of the plan; a frame of another epoch is dropped
  std::uint64_t number = 0;  // counts from 1 within an epoch
  std::vector<StateOp> state_ops;
  std::vector<TickEntry> entries;
};

/// A token with its natural-log probability.
struct TokenLogprob {
  std::int32_t id = 0;
  float logprob = 0;
};

/// What became of a Want: the token that was drawn, or the one that was to be scored. A draw's
/// logprob and top are of the distribution before `allowed`, temperature and filters; top is
/// sorted, most likely first, ties by lower id.
struct TokenResult {
  std::int32_t id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top = {};
};

/// What became of an entry: one token for each of its wants, in order, or why there is none of
/// them. kInvalidArgument: it broke a rule; kNotFound: a stage does not hold what the entry goes on
/// from; kResourceLimit: no memory for it; kInternal: its logits are no numbers. Whatever it is, it
/// is of this sequence alone, whose state in the stages is of no use any more.
struct EntryResult {
  std::uint64_t sequence = 0;
  std::vector<TokenResult> tokens = {};
  std::optional<Error> error = std::nullopt;
};

/// What the last stage returns for a tick.
struct TickResult {
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;
  std::vector<EntryResult> entries;  // as those of the tick
};

}  // namespace tandem
