#pragma once
// Limits that both ends of a pipeline keep: what the gateway never sends, a stage never takes.

#include <cstddef>
#include <cstdint>

namespace tandem {

/// Tokens of a KV page. Reductions over keys go page by page from position 0, so that a query's
/// result depends on its own position and the keys before it only.
inline constexpr int kPageTokens = 64;

/// Largest encoded frame, bytes; a larger length is refused before anything is allocated.
inline constexpr std::uint64_t kMaxFrameBytes = 1ULL << 30;
/// Largest part of it that is not hidden states: its messages take up to 40 times their encoded
/// size in memory, so they have a limit of their own.
inline constexpr std::uint64_t kMaxFrameHeaderBytes = 16ULL << 20;

/// More layers than this no model has, and more threads no rank is asked for.
inline constexpr int kMaxLayers = 2048;
inline constexpr int kMaxThreads = 1024;

/// Most tokens of one tick.
inline constexpr std::size_t kMaxTickRows = 65536;
/// Most state operations of one tick.
inline constexpr std::size_t kMaxStateOps = 65536;
/// Most candidates that a token may come with.
inline constexpr std::uint32_t kMaxTopLogprobs = 1024;
/// Longest list of token ids in a request: logit_bias, xtc_special_tokens, stop_ids.
inline constexpr std::size_t kMaxSamplingIds = 4096;

}  // namespace tandem
