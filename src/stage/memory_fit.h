#pragma once
// What a stage would take of this machine's memory, before it is loaded.

#include <cstdint>

#include "models/model_bytes.h"
#include "stage/stage.h"
#include "tandem/error.h"

namespace tandem::stage {

/// Tokens of the largest tick that memory is kept for.
inline constexpr std::uint32_t kStepRows = 2048;

/// Bytes that the device has free for a stage, the `held` bytes of weights that are there already
/// among them: loading re-uses or drops them.
std::uint64_t memory_for(const StageOptions& options, std::uint64_t held);
/// What the model's parts take in memory, computed as `options` say. Reads no weights.
Result<models::ModelBytes> model_bytes_of(const StageOptions& options);
/// The largest step, of at most `rows`, that the device's memory has room for, where `stages` of
/// the model compute here at once. What cannot be read loading will say.
std::uint32_t fitting_step(const StageOptions& options, int stages, std::uint32_t rows);

}  // namespace tandem::stage
