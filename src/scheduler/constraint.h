#pragma once
// What may come next in a sequence: structured output, seen from the scheduler.

#include <cstdint>
#include <vector>

#include "tandem/error.h"

namespace tandem::scheduler {

/// Follows one sequence token by token, e.g. through a grammar. Used by the engine's thread only.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  /// The tokens that may come next: bit i % 32 of word i / 32 stands for token i; as many words as
  /// the model's vocabulary needs; at least one bit is set.
  virtual Result<std::vector<std::uint32_t>> allowed() = 0;
  /// Moves on by a drawn token. Fails when it was not allowed.
  virtual Status accept(std::int32_t token) = 0;
  /// Whether the output is complete and nothing may follow; the sequence then ends with kStop.
  virtual bool complete() const = 0;
};

}  // namespace tandem::scheduler
