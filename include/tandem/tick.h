#pragma once
// A Tick: everything the stages of a pipeline have to know for one step. Plain data.

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace tandem {

/// How the next token of a sequence is drawn. Defaults are greedy. Same names and meanings as
/// mlx-lm's sampler and logits processors.
struct SamplingParams {
  float temperature = 0;                                   // 0: greedy
  float top_p = 1;                                         // (0, 1]; 1: off
  std::int32_t top_k = 0;                                  // 0: off
  float min_p = 0;                                         // [0, 1); 0: off
  std::int32_t min_tokens_to_keep = 1;                     // floor of min_p
  float xtc_probability = 0;                               // [0, 1]; 0: off
  float xtc_threshold = 0.1F;                              // [0, 0.5]
  std::vector<std::int32_t> xtc_special_tokens;            // never removed by xtc (newline, eos)
  float repetition_penalty = 0;                            // 0: off
  std::int32_t repetition_context = 20;                    // tokens
  float presence_penalty = 0;                              // 0: off
  std::int32_t presence_context = 20;                      // tokens
  float frequency_penalty = 0;                             // 0: off
  std::int32_t frequency_context = 20;                     // tokens
  std::vector<std::pair<std::int32_t, float>> logit_bias;  // token id, added before anything else
  std::uint64_t seed = 0;  // the draw at position p is f(seed, p) only
};

/// The new tokens of one sequence in a tick.
struct TickEntry {
  std::uint64_t sequence = 0;              // chosen by the gateway, unique among live sequences
  std::uint32_t position = 0;              // of tokens[0]; everything before it is already cached
  std::vector<std::int32_t> tokens;        // never empty
  bool sample = false;                     // the last stage draws the token after tokens.back()
  bool score = false;                      // return every token's log-probability (see TokenScore)
  std::uint32_t top_logprobs = 0;          // candidates to return with a sampled or scored token
  std::optional<SamplingParams> sampling;  // set in a sequence's first tick, kept by the last stage
  /// Only with `sample`: the tokens that may be drawn, bit i % 32 of word i / 32 for token i. As
  /// many words as the vocabulary needs, at least one bit set, none beyond it. Empty: every token.
  std::vector<std::uint32_t> allowed;
};

/// A change of the caches, applied before the entries, in order.
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

/// A token that the last stage drew. logprob and top are of the distribution before `allowed`,
/// temperature and filters; top is sorted, most likely first, ties by lower id.
struct SampledToken {
  std::uint64_t sequence = 0;
  std::int32_t id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

/// The log-probability of a given token of a scored entry, given everything before it. The first
/// token of a sequence has none; the first token of a later chunk is scored with the row that the
/// last stage kept of the chunk before.
struct TokenScore {
  std::uint64_t sequence = 0;
  std::uint32_t position = 0;  // of the scored token
  std::int32_t id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

/// What the last stage returns for a tick.
struct TickResult {
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;
  std::vector<SampledToken> sampled;  // one for each entry with sample set, in order
  std::vector<TokenScore> scores;
};

}  // namespace tandem
