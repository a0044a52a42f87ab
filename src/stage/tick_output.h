#pragma once
// Turns the logits of a tick into its result: which rows are needed, and what becomes of each.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "stage/admission.h"
#include "stage/sequence_states.h"
#include "tandem/error.h"
#include "tandem/tick.h"

namespace tandem::stage {

/// The likeliest token at temperature 0, else the one where the part `at` in [0, 1) of the mass is
/// behind, in the order of ids.
struct PlainDraw {
  float temperature = 0;
  double at = 0;
};

/// Lives for one tick. The tick, its admission and the states outlive it.
class TickOutput {
 public:
  /// `states` have the tick already.
  TickOutput(const Tick& tick, const Admission& admission, SequenceStates& states,
             std::int32_t vocabulary, ThreadPool& pool);

  /// Rows of the batch whose logits are needed, ascending.
  std::span<const std::int32_t> rows() const { return rows_; }
  /// Takes the logits [count, vocabulary] of rows()[first, first + count); rows come in any slices.
  /// Penalties and filters overwrite them.
  void take(std::size_t first, std::size_t count, float* logits);
  /// How row rows()[i]'s token is drawn, where a draw by the softmax of the logits as they are is
  /// all that is wanted: then take_drawn() may stand for take().
  std::optional<PlainDraw> plain_draw(std::size_t i) const;
  /// A logprob that is no number: the row's logits are not finite.
  void take_drawn(std::size_t i, const TokenLogprob& drawn);
  /// After every row was taken.
  TickResult result() &&;

 private:
  /// A row with what is wanted of it.
  struct Use {
    const Admitted* of = nullptr;
    std::size_t want = 0;   // the first of its entry's wants
    std::size_t count = 0;  // of this row
    std::optional<Error> error;
  };
  void plan_entry(const Admitted& admitted, std::size_t row);
  void use_row(Use& use, std::span<float> logits);
  Result<TokenResult> draw(const Admitted& of, const Want& want, std::span<float> logits);

  SequenceStates& states_;
  std::size_t vocabulary_;
  ThreadPool& pool_;
  std::vector<std::int32_t> rows_;
  std::vector<Use> uses_;  // as rows_
  TickResult result_;
};

}  // namespace tandem::stage
