#pragma once
// How a stage divides the memory that it may use. Pure.

#include <cstdint>

#include "models/model_bytes.h"
#include "tandem/error.h"
#include "tandem/stage_info.h"

namespace tandem::stage {

/// Fewest rows of a step that memory is saved down to, and the tokens of KV that it is saved for.
inline constexpr std::uint32_t kLeastRows = 64;
inline constexpr std::uint64_t kUsefulTokens = 1024;

/// Least memory that a stage of these layers runs in, with steps of `rows` and one page of KV.
std::uint64_t least_memory(const models::ModelBytes& model, LayerRange range, std::uint32_t rows);

/// Bytes of KV where weights, loading, steps of `rows` and a margin (for threads, page tables and
/// the allocator's slack) have theirs of `memory`, what the device has free before loading: what is
/// left, at most `kv_bytes` (0: four fifths of it, for others may need memory too). kResourceLimit,
/// with the bytes wanted and there and what would help, when that is less than kPageTokens of one
/// sequence take.
Result<std::uint64_t> kv_budget(const models::ModelBytes& model, LayerRange range,
                                std::uint64_t memory, std::uint64_t kv_bytes, std::uint32_t rows);

/// The largest step of at most `rows` that leaves KV of kUsefulTokens (or of `kv_bytes`, if that is
/// less and not 0), else kLeastRows: smaller steps cost speed, not answers.
std::uint32_t fitting_rows(const models::ModelBytes& model, LayerRange range, std::uint64_t memory,
                           std::uint64_t kv_bytes, std::uint32_t rows);

}  // namespace tandem::stage
