#pragma once
// Turns the logits of a tick into its result: which rows are needed, and what becomes of each.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "stage/sequence_states.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// Lives for one tick. The tick and the states outlive it.
class TickOutput {
 public:
  /// `states` have applied the tick. Scores first tokens with the rows kept of earlier chunks.
  TickOutput(const Tick& tick, SequenceStates& states, std::int32_t vocabulary, ThreadPool& pool);

  /// Rows of the batch whose logits are needed, ascending.
  std::span<const std::int32_t> rows() const { return rows_; }
  /// Takes the logits [count, vocabulary] of rows()[first, first + count); rows come in any slices.
  /// Penalties and filters overwrite them.
  void take(std::size_t first, std::size_t count, float* logits);
  /// After every row was taken.
  Result<TickResult> result() &&;

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  struct Use {
    const TickEntry* entry = nullptr;
    std::size_t offset = 0;          // of the row in its entry
    std::size_t score_slot = kNone;  // of the token after this row
    std::size_t sample_slot = kNone;
    std::optional<Error> error;
  };
  void plan_entry(const TickEntry& entry, std::size_t row);
  void use_row(Use& use, std::span<float> logits);
  void store_score(std::size_t slot, const TickEntry& entry, std::size_t index, TokenScore score);

  SequenceStates& states_;
  std::size_t vocabulary_;
  ThreadPool& pool_;
  std::vector<std::int32_t> rows_;
  std::vector<Use> uses_;  // as rows_
  std::optional<Error> error_;
  TickResult result_;
};

}  // namespace tandem::stage
