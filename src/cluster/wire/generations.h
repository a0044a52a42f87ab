#pragma once
// What two programs must have in common to compute together, whatever their version strings say.

#include <cstdint>
#include <string>

#include "kernels/generation.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// Raised when the messages between gateway, worker and ranks change their meaning.
inline constexpr std::uint32_t kProtocolGeneration = 4;

/// One side of a connection.
struct Generations {
  std::string version;  // for people; may come from the wire
  std::uint32_t protocol = kProtocolGeneration;
  std::uint32_t kernels = kernels::kGeneration;
};

/// Success when both generations are the same. Else kInvalidArgument, as the end of a sentence that
/// begins with the worker's name: who has what, and which of the two is the older and to be
/// updated.
Status check_generations(const Generations& worker, const Generations& gateway);

}  // namespace tandem::cluster
